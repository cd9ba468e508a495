"""The graph that fits one model of fibre orientations and computes its maps."""

from pathlib import Path

from nipype import Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.config import SHD_MODELS, DeconvConfig, PreprocConfig
from shd_bids.interfaces.deconvolution import FitFodf
from shd_bids.interfaces.tractography import ComputeMaps, FindPeaks

from .memory import fit_gb
from .model_texts import describe_model

_FITTED = ["fod_files", "fraction_files", "rmse_file", "weights_file", "history_file",
           "summary_file"]  # fmt: skip


def init_deconvolution_wf(
    *,
    model: str,
    deconv: DeconvConfig,
    preproc: PreprocConfig,
    size_gb: float,
    coefficients_gb: float,
    n_voxel: int,
    n_threads: int,
    checkpoint_dir: Path,
    n_direction: int = 0,
    name: str = "deconvolution_wf",
) -> LiterateWorkflow:
    """Build the fit of one model, its peaks and its maps.

    Parameters
    ----------
    model
        One of the models of `--fod-model`.
    deconv
        Settings of the stage, resolved.
    preproc
        For the grouping into shells.
    size_gb
        Size of the series as 32-bit floats, in GB.
    coefficients_gb
        Size of the harmonics as 32-bit floats, in GB.
    n_voxel
        Of an image.
    n_threads
        Threads of one step.
    checkpoint_dir
        Where a network's training is resumed from; outside the node's own folder, which nipype
        empties.
    n_direction
        Volumes of the highest shell, for the methods.
    name
        Name of the workflow.

    Inputs
    ------
    dwi_file, gradients_file, mask_file
        Preprocessed series.
    response_files
        Response by tissue.

    Outputs
    -------
    fod_files, fraction_files
        Harmonics and volume fraction, by tissue.
    rmse_file
        Residual.
    weights_file, history_file
        Network weights and course of the training; only of networks.
    summary_file
        What was done, JSON.
    peaks_file, map_files
        Peaks, and all maps by parameter.
    """
    workflow = LiterateWorkflow(name=name)
    workflow.__desc__ = describe_model(model, deconv, n_direction=n_direction)
    inputnode = Node(
        IdentityInterface(["dwi_file", "gradients_file", "mask_file", "response_files"]),
        name="inputnode",
    )
    outputnode = Node(IdentityInterface([*_FITTED, "peaks_file", "map_files"]), name="outputnode")
    fit_fodf = Node(
        FitFodf(
            model=model,
            lmax=deconv.lmax,
            b0_threshold=preproc.b0_threshold,
            shell_tolerance=preproc.shell_tolerance,
            random_seed=deconv.random_seed,
            n_threads=n_threads,
        ),
        name="fit_fodf",
        n_procs=n_threads,
        mem_gb=fit_gb(
            model,
            deconv,
            n_voxel=n_voxel,
            size_gb=size_gb,
            coefficients_gb=coefficients_gb,
            n_threads=n_threads,
        ),
    )
    if model in SHD_MODELS:
        on_gpu = deconv.device == "cuda"
        fit_fodf.inputs.trait_set(
            preset=deconv.shd_preset,
            precision=deconv.precision,
            device=deconv.device,
            use_gpu=on_gpu,
            checkpoint_dir=str(checkpoint_dir),
        )
        if on_gpu:
            fit_fodf.n_procs = 1  # nipype counts a node's threads as slots of cards, too
        if deconv.shd_steps is not None:
            fit_fodf.inputs.n_step = deconv.shd_steps
        if deconv.tv_weight is not None and model == "shd-tv":
            fit_fodf.inputs.tv_weight = deconv.tv_weight
        if deconv.weights is not None:
            fit_fodf.inputs.weights_file = str(deconv.weights)
    find_peaks = Node(FindPeaks(), name="find_peaks", mem_gb=0.5 + 3 * coefficients_gb)
    compute_maps = Node(ComputeMaps(), name="compute_maps", mem_gb=0.5 + 4 * coefficients_gb)

    workflow.connect([
        (inputnode, fit_fodf, [
            ("dwi_file", "dwi_file"),
            ("gradients_file", "gradients_file"),
            ("mask_file", "mask_file"),
            ("response_files", "response_files"),
        ]),
        (inputnode, find_peaks, [("mask_file", "mask_file")]),
        (fit_fodf, find_peaks, [("fod_files", "fod_files")]),
        (inputnode, compute_maps, [("mask_file", "mask_file")]),
        (fit_fodf, compute_maps, [("fod_files", "fod_files"), ("rmse_file", "rmse_file")]),
        (find_peaks, compute_maps, [("peaks_file", "peaks_file")]),
        (fit_fodf, outputnode, [(field, field) for field in _FITTED]),
        (find_peaks, outputnode, [("peaks_file", "peaks_file")]),
        (compute_maps, outputnode, [("map_files", "map_files")]),
    ])  # fmt: skip
    return workflow
