"""The graphs that picture a run, and the pages made of the pictures.

Pictures are made by nodes, so that they are cached. The page is assembled when the graph has
ended, whatever its end was: a participant whose nodes crashed gets a page that says so.
"""

from collections.abc import Sequence

from nipype import Merge, Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.config import PreprocConfig
from shd_bids.interfaces.fodf_figures import PlotFodf, PlotMaps, PlotResponse, PlotTracts
from shd_bids.interfaces.preproc_figures import (
    PlotDenoising,
    PlotGradients,
    PlotMask,
    TabulatePreproc,
)
from shd_bids.reports.html import figure_path

from .derivatives import Target, model_label

_PER_MODEL = ["fod_files", "map_files", "fraction_files", "summary_file", "history_file"]


def init_preproc_report_wf(
    *, target: Target, preproc: PreprocConfig, size_gb: float, name: str = "preproc_report_wf"
) -> LiterateWorkflow:
    """Picture the gradients, the mask and the denoising.

    Parameters
    ----------
    target
        Where the figures go.
    preproc
        Settings of the stage.
    size_gb
        Size of the series as 32-bit floats, in GB.
    name
        Name of the workflow.

    Inputs
    ------
    dwi_file, gradients_file, mask_file, raw_file, sigma_file, b0_file, qc_file
        What preprocessing gave.

    Outputs
    -------
    None
        Figures end in sinks.
    """
    workflow = LiterateWorkflow(name=name)
    fields = ["dwi_file", "gradients_file", "mask_file", "raw_file", "sigma_file", "b0_file"]
    inputnode = Node(IdentityInterface([*fields, "qc_file"]), name="inputnode")
    shells = {"b0_threshold": preproc.b0_threshold, "shell_tolerance": preproc.shell_tolerance}
    runs = target.series.runs
    facts = {
        "Images": [run.dwi_file.name for run in runs],
        "Denoising": "MP-PCA" if preproc.denoise_method == "mppca" else "none",
        "Unringing, distortion, head motion, eddy currents, bias": "not corrected",
        "Brain mask": preproc.mask_method,
        "Phase encoding": runs[0].metadata.get("PhaseEncodingDirection", "not stated"),
        "T1w image": target.series.t1w_file.name if target.series.t1w_file else "none",
    }
    plot_gradients = Node(PlotGradients(**shells), name="plot_gradients", mem_gb=0.4)
    plot_mask = Node(PlotMask(), name="plot_mask", mem_gb=0.5)
    tabulate_preproc = Node(TabulatePreproc(facts=facts), name="tabulate_preproc", mem_gb=0.1)
    ds_gradients = _figure_sink(target, "ds_gradients", gradients=".svg", shells=".html")
    ds_mask = _figure_sink(target, "ds_mask", mask=".png")
    ds_preproc = _figure_sink(target, "ds_preproc", preprocessing=".html", quality=".html")
    workflow.connect([
        (inputnode, plot_gradients, [("gradients_file", "gradients_file")]),
        (inputnode, plot_mask, [("b0_file", "b0_file"), ("mask_file", "mask_file")]),
        (inputnode, tabulate_preproc, [("qc_file", "qc_file")]),
        (plot_gradients, ds_gradients, [("out_files", "in_files")]),
        (plot_mask, ds_mask, [("out_files", "in_files")]),
        (tabulate_preproc, ds_preproc, [("out_files", "in_files")]),
    ])  # fmt: skip
    if preproc.denoise_method != "none":
        plot_denoising = Node(
            PlotDenoising(**shells), name="plot_denoising", mem_gb=0.5 + 3 * size_gb
        )
        ds_denoising = _figure_sink(target, "ds_denoising", denoising=".svg")
        used = ["dwi_file", "gradients_file", "raw_file", "sigma_file", "mask_file"]
        workflow.connect([
            (inputnode, plot_denoising, [(field, field) for field in used]),
            (plot_denoising, ds_denoising, [("out_files", "in_files")]),
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
    ds_fodf = _figure_sink(target, "ds_fodf", fodf=".png")
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


def init_tracts_report_wf(*, target: Target, name: str = "tracts_report_wf") -> LiterateWorkflow:
    """Picture the streamlines.

    Inputs
    ------
    track_files, mask_file
        Tractogram and density map by kind; brain mask.

    Outputs
    -------
    None
        Figures end in sinks.
    """
    workflow = LiterateWorkflow(name=name)
    inputnode = Node(IdentityInterface(["track_files", "mask_file"]), name="inputnode")
    plot_tracts = Node(PlotTracts(), name="plot_tracts", mem_gb=1.5)
    ds_tracts = _figure_sink(
        target, "ds_tracts", tracts=".png", density=".png", tractography=".html"
    )
    workflow.connect([
        (inputnode, plot_tracts, [("track_files", "track_files"), ("mask_file", "mask_file")]),
        (plot_tracts, ds_tracts, [("out_files", "in_files")]),
    ])  # fmt: skip
    return workflow


def _figure_sink(target: Target, name: str, **extensions: str) -> Node:
    """Make the node that saves figures; keywords are what they show and their extension."""
    entities = target.series.entities
    return target.sink(
        name,
        {what: figure_path(entities, what, ext).as_posix() for what, ext in extensions.items()},
    )
