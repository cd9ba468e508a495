"""The graphs that picture a run, and the pages made of the pictures.

Pictures are made by nodes, so that they are cached. The page is assembled when the graph has
ended, whatever its end was: a participant whose nodes crashed gets a page that says so.
"""

from collections.abc import Sequence
from typing import Any

from nipype import Merge, Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.bids.preprocessed import PreprocessedSeries
from shd_bids.config import PreprocConfig
from shd_bids.interfaces.anat_figures import PlotAtlases
from shd_bids.interfaces.bundle_figures import PlotBundles
from shd_bids.interfaces.connectome import PlotConnectomes
from shd_bids.interfaces.distortion import PlotDistortion
from shd_bids.interfaces.fodf_figures import PlotFodf, PlotMaps, PlotResponse, PlotTracts
from shd_bids.interfaces.preproc_figures import (
    PlotBias,
    PlotDenoising,
    PlotGradients,
    PlotMask,
    PlotMotion,
    TabulatePreproc,
)
from shd_bids.interfaces.scene_figures import PlotScene
from shd_bids.reports.html import figure_path

from .derivatives import Target, model_label
from .plan import SeriesPlan
from .sources import gradient_reading
from .spaces import atlas_wf_name

_PER_MODEL = ["fod_files", "map_files", "fraction_files", "summary_file", "history_file"]


def init_preproc_report_wf(
    *,
    target: Target,
    plan: SeriesPlan,
    preproc: PreprocConfig,
    size_gb: float,
    name: str = "preproc_report_wf",
) -> LiterateWorkflow:
    """Picture the gradients, the mask and each correction that was made.

    Parameters
    ----------
    target
        Where the figures go.
    plan
        What is done with the series.
    preproc
        Settings of the stage.
    size_gb
        Size of the series as 32-bit floats, in GB.
    name
        Name of the workflow.

    Inputs
    ------
    The outputs of preprocessing, as far as its steps are on.

    Outputs
    -------
    None
        Figures end in sinks.
    """
    workflow = LiterateWorkflow(name=name)
    geometry = plan.geometry
    denoised = geometry is not None and preproc.denoise_method != "none"
    distorted = geometry is not None and geometry.sdc != "none"
    moved = geometry is not None and geometry.hmc != "none"
    biased = geometry is not None and preproc.bias_correction != "none"
    fragments = {"orientation": "orientation_files", "judgement": "judgement_files"}
    fields = ["gradients_file", "mask_file", "b0_file", "qc_file", *fragments.values()]
    fields += [] if geometry is None else ["found"]
    shells = {"b0_threshold": preproc.b0_threshold, "shell_tolerance": preproc.shell_tolerance}
    pictures: list[tuple[str, Node, dict[str, str], dict[str, str]]] = [
        (
            "gradients",
            Node(PlotGradients(**shells), name="plot_gradients", mem_gb=0.4),
            {"gradients_file": "gradients_file"},
            {"gradients": ".svg", "shells": ".html"},
        ),
        (
            "mask",
            Node(PlotMask(), name="plot_mask", mem_gb=0.5),
            {"b0_file": "b0_file", "mask_file": "mask_file"},
            {"mask": ".png"},
        ),
        (
            "preproc",
            Node(
                TabulatePreproc(facts=describe_series(plan, preproc)),
                name="tabulate_preproc",
                mem_gb=0.1,
            ),
            {"qc_file": "qc_file"} | ({} if geometry is None else {"found": "found"}),
            {"preprocessing": ".html", "quality": ".html"},
        ),
    ]
    if denoised:
        pictures.append(
            (
                "denoising",
                Node(PlotDenoising(**shells), name="plot_denoising", mem_gb=0.5 + 3 * size_gb),
                {
                    "denoised_file": "dwi_file",
                    "raw_gradients_file": "gradients_file",
                    "raw_file": "raw_file",
                    "sigma_file": "sigma_file",
                    "raw_mask_file": "mask_file",
                },
                {"denoising": ".svg"},
            )
        )
    if distorted:
        pictures.append(
            (
                "distortion",
                Node(PlotDistortion(), name="plot_distortion", mem_gb=1.0),
                {
                    "b0_files": "b0_files",
                    "corrected_files": "corrected_files",
                    "b0_encodings": "phase_encodings",
                    "fieldmap_file": "fieldmap_file",
                    "field_mask_file": "mask_file",
                },
                {"distortion": ".svg"},
            )
        )
    if moved:
        pictures.append(
            (
                "motion",
                Node(PlotMotion(**shells), name="plot_motion", mem_gb=0.5),
                {
                    "gradients_file": "gradients_file",
                    "transforms_file": "transforms_file",
                    "outliers_file": "outliers_file",
                },
                {"motion": ".svg"},
            )
        )
    if biased:
        pictures.append(
            (
                "bias",
                Node(PlotBias(), name="plot_bias", mem_gb=0.5),
                {"bias_file": "bias_file", "mask_file": "mask_file"},
                {"bias": ".png"},
            )
        )
    fields += [field for _, _, given, _ in pictures for field in given if field not in fields]
    inputnode = Node(IdentityInterface(list(dict.fromkeys(fields))), name="inputnode")
    for label, node, given, extensions in pictures:
        sink = _figure_sink(target, f"ds_{label}", **extensions)
        workflow.connect([
            (inputnode, node, list(given.items())),
            (node, sink, [("out_files", "in_files")]),
        ])  # fmt: skip
    for label, field in fragments.items():
        sink = _figure_sink(target, f"ds_{label}", **{label: ".html"})
        workflow.connect([(inputnode, sink, [(field, "in_files")])])
    return workflow


def describe_series(plan: SeriesPlan, preproc: PreprocConfig) -> dict[str, Any]:
    """Say what is done with a series before it is known what will be found, for the report."""
    series, geometry = plan.series, plan.geometry
    facts: dict[str, Any] = {
        "Images": [file.name for file in series.source_files],
        "Gradients": gradient_reading(series)["GradientConventionReason"],
    }
    if isinstance(series, PreprocessedSeries):
        return facts | {
            "Preprocessing": "done before; nothing was resampled",
            "Brain mask": series.mask_file.name if series.mask_file else preproc.mask_method,
            **_describe_anatomy(plan, series),
        }
    phases = dict.fromkeys(run.phase or "not known" for run in series.runs)
    facts["Phase encoding"] = ", ".join(phases)
    facts["Denoising"] = preproc.denoise_method
    facts["Gibbs ringing"] = plan.ringing
    if geometry is not None:
        if geometry.sdc == "none":
            facts["Distortion"] = f"not corrected: {geometry.reason}"
        if geometry.hmc == "none":
            facts["Head motion and eddy currents"] = "not corrected: --hmc none was asked for"
    facts["Intensity bias"] = "removed" if preproc.bias_correction != "none" else "not removed"
    if preproc.output_resolution is not None:
        facts["Voxel size"] = f"{preproc.output_resolution:g} mm, by --output-resolution"
    facts["Brain mask"] = preproc.mask_method
    facts["T1w image"] = series.t1w_file.name if series.t1w_file else "none"
    if series.t1w_file and plan.anat.t1w_file is None:
        facts["T1w image"] = f"{series.t1w_file.name}, not used: --skip-anat"
    return facts


def _describe_anatomy(plan: SeriesPlan, series: PreprocessedSeries) -> dict[str, Any]:
    """Say what was taken over from the anatomy that came with a series."""
    anatomy = plan.anat.given
    if anatomy is None:
        absent = "none came with the series" if series.anatomy is None else "--skip-anat"
        return {"Tissue map": f"not used: {absent}"}
    transforms = [file for file in (anatomy.to_template_file, anatomy.from_template_file) if file]
    tissue, xfm = (
        ", ".join(file.name for file in files) or "none came with the series"
        for files in (anatomy.tissue_files, transforms)
    )
    return {"Tissue map": tissue, "Transforms to and from a template": xfm}


def init_anat_report_wf(*, target: Target, name: str = "anat_report_wf") -> LiterateWorkflow:
    """Save the pictures of the structural image and of how it fits the series.

    Inputs
    ------
    figures
        By what they show.

    Outputs
    -------
    None
        Figures end in sinks.
    """
    workflow = LiterateWorkflow(name=name)
    inputnode = Node(IdentityInterface(["figures"]), name="inputnode")
    ds_anatomy = _figure_sink(
        target, "ds_anatomy", brain=".html", anatomy=".png", coregistration=".png"
    )
    workflow.connect([(inputnode, ds_anatomy, [("figures", "in_files")])])
    return workflow


def init_atlas_report_wf(
    *, target: Target, labels: Sequence[str], name: str = "atlas_report_wf"
) -> LiterateWorkflow:
    """Picture the atlases over the b=0 image.

    Parameters
    ----------
    target
        Where the figure goes.
    labels
        Of the atlases.
    name
        Name of the workflow.

    Inputs
    ------
    b0_file, mask_file
        What preprocessing gave.
    <atlas>_atlas_file
        Labels of each atlas on the series' grid.

    Outputs
    -------
    None
        Figures end in sinks.
    """
    workflow = LiterateWorkflow(name=name)
    fields = [f"{atlas_wf_name(label)}_atlas_file" for label in labels]
    inputnode = Node(IdentityInterface(["b0_file", "mask_file", *fields]), name="inputnode")
    gather_atlases = Node(Merge(len(labels)), name="gather_atlases", run_without_submitting=True)
    plot_atlases = Node(PlotAtlases(names=list(labels)), name="plot_atlases", mem_gb=0.7)
    ds_atlases = _figure_sink(target, "ds_atlases", atlases=".png")
    workflow.connect([
        (inputnode, gather_atlases, [(field, f"in{i}") for i, field in enumerate(fields, start=1)]),
        (inputnode, plot_atlases, [("b0_file", "b0_file"), ("mask_file", "mask_file")]),
        (gather_atlases, plot_atlases, [("out", "atlas_files")]),
        (plot_atlases, ds_atlases, [("out_files", "in_files")]),
    ])  # fmt: skip
    return workflow


def init_response_report_wf(
    *, target: Target, preproc: PreprocConfig, name: str = "response_report_wf"
) -> LiterateWorkflow:
    """Picture the responses.

    Inputs
    ------
    gradients_file, b0_file, mask_file
        What preprocessing gave.
    response_files, voxels_file, voxel_counts, method, tissues_reason
        What the response stage gave.

    Outputs
    -------
    None
        Figures end in sinks.
    """
    workflow = LiterateWorkflow(name=name)
    fields = ["gradients_file", "b0_file", "mask_file", "response_files", "voxels_file",
              "voxel_counts", "method", "tissues_reason"]  # fmt: skip
    inputnode = Node(IdentityInterface(fields), name="inputnode")
    plot_response = Node(
        PlotResponse(b0_threshold=preproc.b0_threshold, shell_tolerance=preproc.shell_tolerance),
        name="plot_response",
        mem_gb=0.5,
    )
    ds_response = _figure_sink(
        target, "ds_response", response=".svg", responsevoxels=".png", tissues=".html"
    )
    workflow.connect([
        (inputnode, plot_response, [(field, field) for field in fields]),
        (plot_response, ds_response, [("out_files", "in_files")]),
    ])  # fmt: skip
    return workflow


def init_fodf_report_wf(
    *,
    target: Target,
    models: Sequence[str],
    coefficients_gb: float,
    name: str = "fodf_report_wf",
) -> LiterateWorkflow:
    """Picture the fibre orientations of all models side by side.

    Parameters
    ----------
    target
        Where the figures go.
    models
        As in `--fod-model`, the one that is tracked first.
    coefficients_gb
        Size of the harmonics of one model as 32-bit floats, in GB.
    name
        Name of the workflow.

    Inputs
    ------
    mask_file, b0_file
        What preprocessing gave.
    <model>_fod_files, <model>_map_files, <model>_fraction_files, <model>_summary_file,
    <model>_history_file
        What each fit gave.

    Outputs
    -------
    None
        Figures end in sinks.
    """
    workflow = LiterateWorkflow(name=name)
    labels = [model_label(model) for model in models]
    given = [f"{label}_{field}" for label in labels for field in _PER_MODEL]
    inputnode = Node(IdentityInterface(["mask_file", "b0_file", *given]), name="inputnode")
    gather = {
        field: Node(Merge(len(labels)), name=f"gather_{field}", run_without_submitting=True)
        for field in _PER_MODEL
    }
    plot_fodf = Node(
        PlotFodf(models=labels),
        name="plot_fodf",
        mem_gb=0.7 + (1 + len(labels)) * coefficients_gb,
    )
    plot_maps = Node(PlotMaps(models=labels), name="plot_maps", mem_gb=0.7 + coefficients_gb)
    ds_fodf = _figure_sink(target, "ds_fodf", fodf=".png", peaks=".png")
    ds_maps = _figure_sink(
        target,
        "ds_maps",
        residual=".png",
        dec=".png",
        scalars=".png",
        fractions=".png",
        loss=".svg",
        fit=".html",
    )
    workflow.connect([
        *[
            (inputnode, node, [(f"{label}_{field}", f"in{i}")])
            for field, node in gather.items()
            for i, label in enumerate(labels, start=1)
        ],
        (inputnode, plot_fodf, [("mask_file", "mask_file"), ("b0_file", "b0_file")]),
        (gather["fod_files"], plot_fodf, [("out", "fod_files")]),
        (gather["map_files"], plot_fodf, [("out", "map_files")]),
        (plot_fodf, ds_fodf, [("out_files", "in_files")]),
        (inputnode, plot_maps, [("mask_file", "mask_file")]),
        (gather["map_files"], plot_maps, [("out", "map_files")]),
        (gather["fraction_files"], plot_maps, [("out", "fraction_files")]),
        (gather["summary_file"], plot_maps, [("out", "summary_files")]),
        (gather["history_file"], plot_maps, [("out", "history_files")]),
        (plot_maps, ds_maps, [("out_files", "in_files")]),
    ])  # fmt: skip
    return workflow


def init_tracts_report_wf(
    *,
    target: Target,
    atlases: Sequence[str],
    with_bundles: bool,
    name: str = "tracts_report_wf",
) -> LiterateWorkflow:
    """Picture the streamlines, what they join and the bundles among them.

    Parameters
    ----------
    target
        Where the figures go.
    atlases
        Labels of the atlases whose regions are joined.
    with_bundles
        Whether bundles were looked for.
    name
        Name of the workflow.

    Inputs
    ------
    tck_file, track_map_files, mask_file
        Streamlines, maps of them, brain mask.
    <atlas>_connectome_files, <atlas>_connectome_found
        Of each atlas.
    bundle_files, bundle_table_file, profiles_file
        Only with bundles.

    Outputs
    -------
    None
        Figures end in sinks.
    """
    workflow = LiterateWorkflow(name=name)
    fields = ["tck_file", "track_map_files", "mask_file"]
    stems = [atlas_wf_name(atlas) for atlas in atlases]
    fields += [f"{stem}_connectome_{what}" for stem in stems for what in ("files", "found")]
    fields += ["bundle_files", "bundle_table_file", "profiles_file"] if with_bundles else []
    inputnode = Node(IdentityInterface(fields), name="inputnode")
    plot_tracts = Node(PlotTracts(), name="plot_tracts", mem_gb=1.5)
    ds_tracts = _figure_sink(
        target, "ds_tracts", tracts=".png", slabs=".png", density=".png", tractography=".html"
    )
    workflow.connect([
        (inputnode, plot_tracts, [
            ("tck_file", "tck_file"),
            ("track_map_files", "map_files"),
            ("mask_file", "mask_file"),
        ]),
        (plot_tracts, ds_tracts, [("out_files", "in_files")]),
    ])  # fmt: skip
    plot_scene = Node(PlotScene(), name="plot_scene", mem_gb=1.0)
    ds_scene = _figure_sink(target, "ds_scene", scene3d=".html")
    given = ["tck_file", "mask_file", *(["bundle_files"] if with_bundles else [])]
    workflow.connect([
        (inputnode, plot_scene, [(field, field) for field in given]),
        (plot_scene, ds_scene, [("out_files", "in_files")]),
    ])  # fmt: skip
    if atlases:
        plot_connectomes = Node(
            PlotConnectomes(names=list(atlases)), name="plot_connectomes", mem_gb=0.5
        )
        ds_connectomes = _figure_sink(
            target, "ds_connectomes", connectomes=".png", connectomenumbers=".html"
        )
        for what, field in (("files", "table_files"), ("found", "found")):
            gather = Node(Merge(len(stems)), name=f"gather_{what}", run_without_submitting=True)
            links = [(f"{stem}_connectome_{what}", f"in{i}") for i, stem in enumerate(stems, 1)]
            workflow.connect([
                (inputnode, gather, links),
                (gather, plot_connectomes, [("out", field)]),
            ])  # fmt: skip
        workflow.connect([(plot_connectomes, ds_connectomes, [("out_files", "in_files")])])
    if with_bundles:
        plot_bundles = Node(PlotBundles(), name="plot_bundles", mem_gb=1.5)
        ds_bundles = _figure_sink(
            target, "ds_bundles", bundles=".png", profiles=".svg", bundletable=".html"
        )
        workflow.connect([
            (inputnode, plot_bundles, [
                ("bundle_files", "bundle_files"),
                ("bundle_table_file", "table_file"),
                ("profiles_file", "profiles_file"),
                ("mask_file", "mask_file"),
            ]),
            (plot_bundles, ds_bundles, [("out_files", "in_files")]),
        ])  # fmt: skip
    return workflow


def _figure_sink(target: Target, name: str, **extensions: str) -> Node:
    """Make the node that saves figures; keywords are what they show and their extension."""
    entities = target.series.entities
    return target.sink(
        name,
        {what: figure_path(entities, what, ext).as_posix() for what, ext in extensions.items()},
    )
