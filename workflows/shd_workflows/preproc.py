"""The graph that prepares a diffusion series."""

from nipype import Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.config import PreprocConfig
from shd_bids.interfaces.preproc import DenoiseDwi, EstimateMask, MergeRuns
from shd_bids.interfaces.quality import ExportDwi, MeasureQuality

_DENOISED = "Noise was removed by Marchenko-Pastur principal component analysis [@mppca]. "
_MASKED = (
    "A brain mask was computed from the b=0 and diffusion-weighted means by median filtering and "
    "Otsu's threshold [@otsu; @dipy]. "
)


def init_preproc_wf(
    *,
    preproc: PreprocConfig,
    n_run: int,
    size_gb: float,
    n_threads: int,
    name: str = "preproc_wf",
) -> LiterateWorkflow:
    """Build the preprocessing of one series.

    The order is: merge runs and check gradients, denoise, unring, correct distortion, correct head
    motion and eddy currents, correct bias, mask, measure. Unringing, distortion, motion and bias
    correction do not exist yet; their place is between `denoise_dwi` and `estimate_mask`.

    Parameters
    ----------
    preproc
        Settings of the stage.
    n_run
        Number of runs that are merged.
    size_gb
        Size of the merged series as 32-bit floats, in GB.
    n_threads
        Threads of one step.
    name
        Name of the workflow.

    Inputs
    ------
    dwi_files
        Images of the runs.
    bval_files, bvec_files
        Their gradient tables as FSL writes them.

    Outputs
    -------
    dwi_file
        Preprocessed series.
    gradients_file
        Its gradient table, MRtrix3 text in scanner axes.
    mask_file, b0_file
        Brain mask and mean of the b=0 volumes.
    raw_file
        Series as acquired, runs merged.
    sigma_file
        Standard deviation of the noise; only with denoising.
    export_files
        Preprocessed series, compressed, and its gradients as FSL text, by kind.
    qc_file, confounds_file
        Measures of the series and of every volume.
    """
    workflow = LiterateWorkflow(name=name)
    merged = f"{n_run} runs of one acquisition were concatenated. " if n_run > 1 else ""
    workflow.__desc__ = (
        "\n\n### Preprocessing\n\n"
        + merged
        + "Gradient directions were read by the FSL convention and turned into scanner axes. "
        + (_DENOISED if preproc.denoise_method == "mppca" else "The data were not denoised. ")
        + (_MASKED if preproc.mask_method == "median-otsu" else "No brain mask was computed. ")
        + "Distortion, head motion, eddy currents and intensity bias were not corrected. "
    )
    shells = {
        "b0_threshold": preproc.b0_threshold,
        "shell_tolerance": preproc.shell_tolerance,
    }
    inputnode = Node(IdentityInterface(["dwi_files", "bval_files", "bvec_files"]), name="inputnode")
    outputnode = Node(
        IdentityInterface(
            [
                "dwi_file",
                "gradients_file",
                "mask_file",
                "b0_file",
                "raw_file",
                "sigma_file",
                "export_files",
                "qc_file",
                "confounds_file",
            ]
        ),
        name="outputnode",
    )
    merge_runs = Node(
        MergeRuns(),
        name="merge_runs",
        mem_gb=0.5 + 3 * size_gb,
    )
    estimate_mask = Node(
        EstimateMask(method=preproc.mask_method, **shells),
        name="estimate_mask",
        mem_gb=0.5 + 3 * size_gb,
    )
    measure_quality = Node(
        MeasureQuality(**shells), name="measure_quality", mem_gb=0.5 + 5 * size_gb
    )
    export_dwi = Node(ExportDwi(), name="export_dwi", mem_gb=0.5 + 2 * size_gb)

    workflow.connect([
        (inputnode, merge_runs, [
            ("dwi_files", "dwi_files"),
            ("bval_files", "bval_files"),
            ("bvec_files", "bvec_files"),
        ]),
        (merge_runs, outputnode, [
            ("dwi_file", "raw_file"),
            ("gradients_file", "gradients_file"),
        ]),
    ])  # fmt: skip

    last = merge_runs
    if preproc.denoise_method == "mppca":
        denoise_dwi = Node(
            DenoiseDwi(n_threads=n_threads),
            name="denoise_dwi",
            n_procs=n_threads,
            mem_gb=0.5 + 5 * size_gb,
        )
        workflow.connect([
            (merge_runs, denoise_dwi, [("dwi_file", "dwi_file")]),
            (denoise_dwi, measure_quality, [("sigma_file", "sigma_file")]),
            (denoise_dwi, outputnode, [("sigma_file", "sigma_file")]),
        ])  # fmt: skip
        last = denoise_dwi
    # Unringing, distortion, head motion and eddy currents, then bias take their place here.

    workflow.connect([
        (last, estimate_mask, [("dwi_file", "dwi_file")]),
        (merge_runs, estimate_mask, [("gradients_file", "gradients_file")]),
        (merge_runs, measure_quality, [
            ("dwi_file", "raw_file"),
            ("gradients_file", "gradients_file"),
        ]),
        (last, measure_quality, [("dwi_file", "dwi_file")]),
        (estimate_mask, measure_quality, [("mask_file", "mask_file")]),
        (last, export_dwi, [("dwi_file", "dwi_file")]),
        (merge_runs, export_dwi, [("gradients_file", "gradients_file")]),
        (last, outputnode, [("dwi_file", "dwi_file")]),
        (estimate_mask, outputnode, [("mask_file", "mask_file"), ("b0_file", "b0_file")]),
        (export_dwi, outputnode, [("out_files", "export_files")]),
        (measure_quality, outputnode, [
            ("qc_file", "qc_file"),
            ("confounds_file", "confounds_file"),
        ]),
    ])  # fmt: skip
    return workflow
