"""The graph that prepares a diffusion series from raw images."""

from nipype import Merge, Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.config import PreprocConfig
from shd_bids.interfaces.corrections import CheckOrientation, CorrectBias, UnringDwi
from shd_bids.interfaces.preproc import DenoiseDwi, EstimateMask, MergeRuns
from shd_bids.interfaces.quality import ExportDwi, MeasureQuality, MeasureRaw
from shd_bids.reports.versions import library_version

from .geometry import FIELD_FIELDS, MOTION_FIELDS, init_geometry_wf
from .geometry_plan import GeometryPlan

PREPROC_FIELDS = (
    "dwi_file",
    "gradients_file",
    "mask_file",
    "b0_file",
    "raw_file",
    "raw_gradients_file",
    "raw_mask_file",
    "denoised_file",
    "sigma_file",
    "bias_file",
    *FIELD_FIELDS,
    *MOTION_FIELDS,
    "orientation_files",
    "found",
    "export_files",
    "measures",
    "gradient_fields",
    "confounds_file",
)

_DENOISED = {
    "mppca": "Noise was removed by Marchenko-Pastur principal component analysis [@mppca] in "
    "overlapping cubic patches of at least as many voxels as there were volumes. ",
    "patch2self": "Noise was removed by Patch2Self [@patch2self] with ordinary least squares, from "
    "b=0 and diffusion-weighted volumes apart, where there were at least eight. ",
    "none": "The data were not denoised. ",
}
_UNRUNG = "Gibbs ringing was removed by sub-voxel shifts [@gibbs]{how}. "
_STILL = (
    "Neither susceptibility distortion nor head motion and eddy currents were corrected, and the "
    "series was not resampled. "
)
_BIAS = (
    "Intensity bias was removed by N4 [@n4] of SimpleITK {version} [@simpleitk], estimated on the "
    "geometric mean of the b=0 images and the lowest shell. "
)
_MASKED = {
    "median-otsu": "A brain mask was computed by median filtering and Otsu's threshold "
    "[@otsu; @dipy] from the mean b=0 image and its geometric means with those of the shells. ",
    "none": "No brain was extracted: all voxels with signal were processed. ",
}
CHECKED = (
    "The gradient table was compared with all flips and permutations of its axes by the coherence "
    "of fibres [@coherence], and left as it was. "
)


def init_preproc_wf(
    *,
    preproc: PreprocConfig,
    geometry: GeometryPlan,
    slice_axis: int | None,
    n_run: int,
    size_gb: float,
    growth: float,
    n_threads: int,
    ringing: str = "",
    name: str = "preproc_wf",
) -> LiterateWorkflow:
    """Build the preprocessing of one series.

    The order is: merge runs, denoise, unring, correct distortion, head motion and eddy currents
    (in one interpolation), correct bias, mask, check gradients, measure.

    Parameters
    ----------
    preproc
        Settings of the stage.
    geometry
        How distortion and motion are corrected.
    slice_axis
        Image axis across the slices, to unring the series and what its field is found from; None
        leaves the ringing.
    n_run
        Number of runs that are merged.
    size_gb
        Size of the merged series as acquired, as 32-bit floats, in GB.
    growth
        Voxels of the output for each one acquired.
    n_threads
        Threads of one step.
    ringing
        What is done about ringing, as `SeriesPlan` has it in words, for the methods.
    name
        Name of the workflow.

    Inputs
    ------
    dwi_files
        Images of the runs.
    bval_files, bvec_files
        Their gradient tables as FSL writes them.
    phases
        Directions of their phase encoding.

    Outputs
    -------
    dwi_file, gradients_file
        Preprocessed series and its gradient table, MRtrix3 text in scanner axes.
    mask_file, b0_file
        Brain mask and mean of the b=0 volumes.
    raw_file, raw_gradients_file, raw_mask_file
        Series as acquired, runs merged, its table, and the brain in it.
    denoised_file, sigma_file
        The same without noise, and the noise's standard deviation; only with denoising.
    bias_file
        Bias field; only with its correction.
    fieldmap_file, displacement_file, b0_files, corrected_files, b0_encodings, field_mask_file
        Of distortion correction; only with it.
    transforms_file, outliers_file
        Of motion correction; only with it.
    orientation_files, found
        What the steps found, for the report.
    export_files
        Preprocessed series, compressed, and its gradients as FSL text, by kind.
    measures, confounds_file
        Measures of the series by name, and of every volume.
    gradient_fields
        Verdict on the gradients, for sidecars.
    """
    workflow = LiterateWorkflow(name=name)
    unrung = slice_axis is not None
    workflow.__desc__ = _describe_start(preproc, n_run, ringing, unrung=unrung)
    still = geometry.is_idle(preproc)
    workflow.__postdesc__ = (_STILL if still else "") + describe_end(preproc)
    shells = {"b0_threshold": preproc.b0_threshold, "shell_tolerance": preproc.shell_tolerance}
    inputnode = Node(
        IdentityInterface(["dwi_files", "bval_files", "bvec_files", "phases"]), name="inputnode"
    )
    outputnode = Node(IdentityInterface(list(PREPROC_FIELDS)), name="outputnode")
    merge_runs = Node(
        MergeRuns(b0_threshold=preproc.b0_threshold), name="merge_runs", mem_gb=0.5 + 3 * size_gb
    )
    mask_raw = _mask_node("mask_raw", preproc, size_gb)
    output_gb = size_gb * growth
    estimate_mask = _mask_node("estimate_mask", preproc, output_gb)
    measure_raw = Node(MeasureRaw(**shells), name="measure_raw", mem_gb=0.5 + 3 * size_gb)
    measure_quality = Node(
        MeasureQuality(**shells), name="measure_quality", mem_gb=0.5 + 3 * output_gb
    )
    check_orientation = Node(
        CheckOrientation(**shells), name="check_orientation", mem_gb=0.5 + 2 * output_gb
    )
    export_dwi = Node(ExportDwi(), name="export_dwi", mem_gb=0.5 + 2 * output_gb)
    gather_found = Node(Merge(3), name="gather_found", run_without_submitting=True)

    workflow.connect([
        (inputnode, merge_runs, [
            ("dwi_files", "dwi_files"),
            ("bval_files", "bval_files"),
            ("bvec_files", "bvec_files"),
            ("phases", "phases"),
        ]),
        (merge_runs, outputnode, [
            ("dwi_file", "raw_file"),
            ("gradients_file", "raw_gradients_file"),
        ]),
        (merge_runs, gather_found, [("found", "in1")]),
        (merge_runs, measure_raw, [
            ("dwi_file", "dwi_file"),
            ("gradients_file", "gradients_file"),
        ]),
        (mask_raw, measure_raw, [("mask_file", "mask_file")]),
        (mask_raw, outputnode, [("mask_file", "raw_mask_file")]),
    ])  # fmt: skip

    last = merge_runs
    if preproc.denoise_method != "none":
        denoise_dwi = Node(
            DenoiseDwi(method=preproc.denoise_method, n_threads=n_threads, **shells),
            name="denoise_dwi",
            n_procs=n_threads,
            mem_gb=0.5 + 5 * size_gb,
        )
        workflow.connect([
            (merge_runs, denoise_dwi, [
                ("dwi_file", "dwi_file"),
                ("gradients_file", "gradients_file"),
            ]),
            (denoise_dwi, measure_raw, [("sigma_file", "sigma_file")]),
            (denoise_dwi, outputnode, [
                ("dwi_file", "denoised_file"),
                ("sigma_file", "sigma_file"),
            ]),
        ])  # fmt: skip
        last = denoise_dwi
    if slice_axis is not None:
        unring_dwi = Node(
            UnringDwi(slice_axis=slice_axis, n_threads=n_threads),
            name="unring_dwi",
            n_procs=n_threads,
            mem_gb=0.5 * n_threads + 2 * size_gb,
        )
        workflow.connect([(last, unring_dwi, [("dwi_file", "dwi_file")])])
        last = unring_dwi

    workflow.connect([
        (last, mask_raw, [("dwi_file", "dwi_file")]),
        (merge_runs, mask_raw, [("gradients_file", "gradients_file")]),
    ])  # fmt: skip
    images, gradients = (last, "dwi_file"), (merge_runs, "gradients_file")
    if not still:
        geometry_wf = init_geometry_wf(
            plan=geometry,
            preproc=preproc,
            slice_axis=slice_axis,
            size_gb=size_gb,
            growth=growth,
            n_threads=n_threads,
        )
        workflow.connect([
            (last, geometry_wf, [("dwi_file", "inputnode.dwi_file")]),
            (merge_runs, geometry_wf, [("gradients_file", "inputnode.gradients_file")]),
            (mask_raw, geometry_wf, [("mask_file", "inputnode.mask_file")]),
            (geometry_wf, outputnode, [
                (f"outputnode.{field}", field) for field in FIELD_FIELDS + MOTION_FIELDS
            ]),
            (geometry_wf, measure_quality, [
                ("outputnode.transforms_file", "transforms_file"),
                ("outputnode.outliers_file", "outliers_file"),
                ("outputnode.field_measures", "field_measures"),
            ]),
            (geometry_wf, gather_found, [
                ("outputnode.field_found", "in2"),
                ("outputnode.motion_found", "in3"),
            ]),
        ])  # fmt: skip
        images = (geometry_wf, "outputnode.dwi_file")
        gradients = (geometry_wf, "outputnode.gradients_file")
    if preproc.bias_correction != "none":
        # the raw mask lies where the head was in the first b=0; the last one needs the bias gone
        mask_biased = _mask_node("mask_biased", preproc, output_gb)
        correct_bias = Node(
            CorrectBias(n_threads=n_threads, **shells),
            name="correct_bias",
            n_procs=n_threads,
            mem_gb=0.5 + 3 * output_gb,
        )
        for node in (mask_biased, correct_bias):
            _connect_series(workflow, images, gradients, node)
        workflow.connect([
            (mask_biased, correct_bias, [("mask_file", "mask_file")]),
            (correct_bias, outputnode, [("bias_file", "bias_file")]),
        ])  # fmt: skip
        images = (correct_bias, "dwi_file")

    for node in (estimate_mask, check_orientation, measure_quality, export_dwi, outputnode):
        _connect_series(workflow, images, gradients, node)
    workflow.connect([
        (estimate_mask, outputnode, [("mask_file", "mask_file"), ("b0_file", "b0_file")]),
        (estimate_mask, check_orientation, [("mask_file", "mask_file")]),
        (estimate_mask, measure_quality, [("mask_file", "mask_file")]),
        (measure_raw, measure_quality, [("measures", "raw_measures")]),
        (check_orientation, measure_quality, [("measures", "gradient_measures")]),
        (check_orientation, outputnode, [
            ("out_files", "orientation_files"),
            ("fields", "gradient_fields"),
        ]),
        (gather_found, outputnode, [("out", "found")]),
        (export_dwi, outputnode, [("out_files", "export_files")]),
        (measure_quality, outputnode, [
            ("measures", "measures"),
            ("confounds_file", "confounds_file"),
        ]),
    ])  # fmt: skip
    return workflow


def _mask_node(name: str, preproc: PreprocConfig, size_gb: float) -> Node:
    return Node(
        EstimateMask(
            method=preproc.mask_method,
            b0_threshold=preproc.b0_threshold,
            shell_tolerance=preproc.shell_tolerance,
        ),
        name=name,
        mem_gb=0.5 + 3 * size_gb,
    )


def _connect_series(
    workflow: LiterateWorkflow,
    images: tuple[Node, str],
    gradients: tuple[Node, str],
    taker: Node,
) -> None:
    (giver, field), (gradient_giver, gradient_field) = images, gradients
    workflow.connect([
        (giver, taker, [(field, "dwi_file")]),
        (gradient_giver, taker, [(gradient_field, "gradients_file")]),
    ])  # fmt: skip


def mask_text(method: str) -> str:
    """Say how the brain is found in a series."""
    return _MASKED[method]


def describe_end(preproc: PreprocConfig) -> str:
    """Say what is done after all volumes are where they belong."""
    bias = _BIAS.format(version=library_version("SimpleITK"))
    return (
        (bias if preproc.bias_correction != "none" else "Intensity bias was not corrected. ")
        + mask_text(preproc.mask_method)
        + CHECKED
    )


def _describe_start(preproc: PreprocConfig, n_run: int, ringing: str, *, unrung: bool) -> str:
    merged = f"{n_run} runs of one acquisition were brought to one scale by their b=0 images and "
    _, _, why = ringing.partition(", " if unrung else ": ")
    if unrung:
        partly = why.replace(": ", ", because ", 1)
        rung = _UNRUNG.format(how=f", {partly}" if why else "")
    else:
        because = "" if why.startswith("--") or not why else f", because {why}"
        rung = f"Gibbs ringing was not removed{because}. "
    return "".join(
        [
            "\n\n### Preprocessing\n\n",
            f"{merged}joined. " if n_run > 1 else "",
            "Gradient directions were read by the FSL convention and turned into scanner axes. ",
            _DENOISED[preproc.denoise_method],
            rung,
        ]
    )
