"""The graph of one participant: its series side by side, each from raw images to streamlines."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from nipype import Node
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids import __version__
from shd_bids.bids.preprocessed import PreprocessedSeries
from shd_bids.config import LEVELS, SHD_MODELS, RunConfig
from shd_bids.interfaces.judgement import WriteQuality

from .anat_derivatives import tissue_path
from .connections import connect as _connect
from .connections import connect_shared as _connect_shared
from .deconvolution import init_deconvolution_wf
from .derivatives import (
    Target,
    init_model_derivatives_wf,
    init_preproc_derivatives_wf,
    init_response_derivatives_wf,
    model_label,
)
from .ingest import init_ingest_wf
from .memory import steps_gb
from .own_results import (
    add_own_figures,
    init_own_fit_wf,
    init_own_preproc_wf,
    init_own_response_wf,
    retell,
)
from .plan import SeriesPlan
from .preproc import init_preproc_wf
from .reports import (
    init_fodf_report_wf,
    init_preproc_report_wf,
    init_response_report_wf,
    init_tracts_report_wf,
)
from .response import init_response_wf, response_tissues
from .series_anat import add_anatomy, add_atlases, add_spaces
from .sources import dataset_links
from .spaces import atlas_wf_name
from .tract_derivatives import init_tractogram_derivatives_wf
from .tractography import init_tractography_wf

_SERIES = ["dwi_file", "gradients_file", "mask_file"]


def participant_wf_name(label: str) -> str:
    """Give the name of a participant's graph, which its log and crash files are found by."""
    return f"sub_{label.replace('+', '_plus_')}_wf"


def init_participant_wf(
    *, label: str, plans: Sequence[SeriesPlan], config: RunConfig
) -> LiterateWorkflow:
    """Build the graph of one participant.

    Parameters
    ----------
    label
        Participant, without ``sub-``.
    plans
        Its series.
    config
        Settings of the run, resources resolved.

    Inputs
    ------
    None
        The files of the input are known when the graph is built.

    Outputs
    -------
    None
        All results end in sinks.
    """
    workflow = LiterateWorkflow(name=participant_wf_name(label))
    workflow.__desc__ = (
        f"The results come from *shd-bids* {__version__}, a BIDS App [@bidsapps] built on *Nipype* "
        "[@nipype], from data organised by the Brain Imaging Data Structure [@bids]. "
    )
    saved: set[Path | None] = {None}
    for plan in plans:
        with_t1w = plan.anat.t1w_file not in saved
        saved.add(plan.anat.t1w_file)
        series_wf = init_series_wf(plan=plan, config=config, with_t1w=with_t1w, name=plan.name)
        add_own_figures(series_wf, _target(plan, config))
        workflow.add_nodes([series_wf])
    return workflow


def _target(plan: SeriesPlan, config: RunConfig) -> Target:
    links = dataset_links(config, plan.anat.references)
    given = bool(config.response.files)
    return Target(plan.series, links, config.execution.output_dir, plan.own, given)


def init_series_wf(
    *, plan: SeriesPlan, config: RunConfig, with_t1w: bool, name: str
) -> LiterateWorkflow:
    """Build the graph of one series, as far as `--level` says.

    Parameters
    ----------
    plan
        The series and the models to fit.
    config
        Settings of the run, resources resolved.
    with_t1w
        Whether this series saves what lies on the grid of the T1w image.
    name
        Name of the workflow.

    Inputs
    ------
    None
        The files of the input are known when the graph is built.

    Outputs
    -------
    None
        All results end in sinks.
    """
    workflow = LiterateWorkflow(name=name)
    execution = config.execution
    target = _target(plan, config)
    n_threads = config.resources.omp_nthreads or 1
    level = LEVELS.index(execution.level)

    preproc_wf = _init_input_wf(plan, config, n_threads)
    write_quality = None
    if not plan.own.measures:
        write_quality = _save_and_picture(workflow, preproc_wf, plan, config, target)
    anat_wf, tissue_wf = add_anatomy(
        workflow, preproc_wf, write_quality, plan, target, n_threads, with_t1w
    )
    add_atlases(workflow, preproc_wf, anat_wf, plan, target, n_threads)
    models = plan.models if level >= LEVELS.index("fod") else ()
    space_wfs = add_spaces(workflow, preproc_wf, anat_wf, plan, target, n_threads, models)
    if level < LEVELS.index("response"):
        return workflow

    if plan.own.results is not None and plan.own.responses:
        response_wf = init_own_response_wf(plan.own.results)
        workflow.add_nodes([response_wf])
    else:
        response_wf = _add_response(workflow, preproc_wf, plan, config, target)
    if level < LEVELS.index("fod"):
        return workflow

    _add_models(workflow, preproc_wf, response_wf, space_wfs, plan, config, target)
    if level < LEVELS.index("full") or config.tracking.skip_tractography:
        return workflow

    _add_tracts(workflow, preproc_wf, tissue_wf, plan, config, target, n_threads)
    return workflow


def _save_and_picture(
    workflow: LiterateWorkflow,
    preproc_wf: LiterateWorkflow,
    plan: SeriesPlan,
    config: RunConfig,
    target: Target,
) -> Node:
    """Save and picture the series and its measures; give the node that writes these."""
    save_preproc_wf = init_preproc_derivatives_wf(
        target=target, plan=plan, preproc=config.preproc, methods=preproc_wf.visit_desc()
    )
    _connect_shared(workflow, preproc_wf, save_preproc_wf)
    report_preproc_wf = init_preproc_report_wf(
        target=target, plan=plan, preproc=config.preproc, size_gb=plan.acquired_gb
    )
    _connect_shared(workflow, preproc_wf, report_preproc_wf)
    write_quality = Node(WriteQuality(), name="write_quality", mem_gb=0.1)
    workflow.connect([
        (preproc_wf, write_quality, [
            ("outputnode.measures", "measures"),
            ("outputnode.gradient_fields", "gradient_fields"),
        ]),
        (write_quality, save_preproc_wf, [
            ("qc_file", "inputnode.qc_file"),
            ("quality_fields", "inputnode.quality_fields"),
        ]),
        (write_quality, report_preproc_wf, [
            ("qc_file", "inputnode.qc_file"),
            ("judgement_files", "inputnode.judgement_files"),
        ]),
    ])  # fmt: skip
    return write_quality


def _add_response(
    workflow: LiterateWorkflow,
    preproc_wf: LiterateWorkflow,
    plan: SeriesPlan,
    config: RunConfig,
    target: Target,
) -> LiterateWorkflow:
    """Give the response of each tissue, and save and picture it."""
    response_wf = init_response_wf(
        response=config.response,
        preproc=config.preproc,
        lmax=config.deconv.lmax,
        size_gb=plan.size_gb(),
        tissues=response_tissues(config.response, plan.shell_bvals),
    )
    save_response_wf = init_response_derivatives_wf(
        target=target,
        preproc=config.preproc,
        given_files=config.response.files,
        methods=response_wf.visit_desc(),
    )
    _connect(workflow, preproc_wf, response_wf, _SERIES)
    _connect_shared(workflow, preproc_wf, save_response_wf)
    _connect(workflow, response_wf, save_response_wf, ["response_files", "method", "voxel_counts"])
    report_response_wf = init_response_report_wf(target=target, preproc=config.preproc)
    _connect(workflow, preproc_wf, report_response_wf, ["gradients_file", "mask_file", "b0_file"])
    found = ["response_files", "method", "tissues_reason", "voxels_file", "voxel_counts"]
    _connect(workflow, response_wf, report_response_wf, found)
    return response_wf


def _add_models(
    workflow: LiterateWorkflow,
    preproc_wf: LiterateWorkflow,
    response_wf: LiterateWorkflow,
    space_wfs: Sequence[LiterateWorkflow],
    plan: SeriesPlan,
    config: RunConfig,
    target: Target,
) -> None:
    """Fit all models, and save, picture and bring to other spaces what they give."""
    n_coefficient = (config.deconv.lmax + 1) * (config.deconv.lmax + 2) // 2
    coefficients_gb = plan.size_gb(n_coefficient)
    report_fodf_wf = None
    if set(plan.models) - set(plan.own.models):
        report_fodf_wf = init_fodf_report_wf(
            target=target, models=plan.models, coefficients_gb=coefficients_gb
        )
        _connect(workflow, preproc_wf, report_fodf_wf, ["mask_file", "b0_file"])
    for model in plan.models:
        label = model_label(model)
        if plan.own.results is not None and model in plan.own.models:
            fit_wf = init_own_fit_wf(
                plan.own.results.models[label],
                pictured=report_fodf_wf is not None,
                name=f"{label}_wf",
            )
            workflow.add_nodes([fit_wf])
        else:
            fit_wf = _add_fit(
                workflow, preproc_wf, response_wf, model, plan, config, target, coefficients_gb
            )
        if report_fodf_wf is not None:
            pictured = ["fod_files", "map_files", "fraction_files", "summary_file", "history_file"]
            _connect(workflow, fit_wf, report_fodf_wf, pictured, prefix=f"{label}_")
        for space_wf in space_wfs:
            brought = ["map_files", "fraction_files"]
            _connect(workflow, fit_wf, space_wf, brought, prefix=f"{label}_")


def _add_fit(
    workflow: LiterateWorkflow,
    preproc_wf: LiterateWorkflow,
    response_wf: LiterateWorkflow,
    model: str,
    plan: SeriesPlan,
    config: RunConfig,
    target: Target,
    coefficients_gb: float,
) -> LiterateWorkflow:
    """Fit one model and save what it gives."""
    label = model_label(model)
    fit_wf = init_deconvolution_wf(
        model=model,
        deconv=config.deconv,
        preproc=config.preproc,
        size_gb=plan.size_gb(),
        coefficients_gb=coefficients_gb,
        n_voxel=_n_voxel(plan),
        n_threads=config.resources.omp_nthreads or 1,
        checkpoint_dir=_checkpoint_dir(config.execution.work_dir, plan, label),
        n_direction=plan.shell_counts[-1] if plan.shell_counts else 0,
        name=f"{label}_wf",
    )
    save_fit_wf = init_model_derivatives_wf(
        target=target,
        model=model,
        preproc=config.preproc,
        with_weights=model in SHD_MODELS,
        methods=fit_wf.visit_desc(),
        name=f"{label}_derivatives_wf",
    )
    _connect(workflow, preproc_wf, fit_wf, _SERIES)
    _connect(workflow, response_wf, fit_wf, ["response_files"])
    _connect_shared(workflow, preproc_wf, save_fit_wf)
    _connect(workflow, response_wf, save_fit_wf, ["response_files"])
    saved = ["fod_files", "fraction_files", "map_files", "summary_file"]
    saved += ["weights_file", "history_file"] if model in SHD_MODELS else []
    _connect(workflow, fit_wf, save_fit_wf, saved)
    return fit_wf


def _add_tracts(
    workflow: LiterateWorkflow,
    preproc_wf: LiterateWorkflow,
    tissue_wf: LiterateWorkflow | None,
    plan: SeriesPlan,
    config: RunConfig,
    target: Target,
    n_threads: int,
) -> None:
    """Follow the first model, and save and picture what comes of it."""
    model, tracking = plan.models[0], config.tracking
    atlases = [atlas.label for atlas in plan.anat.atlases]
    tracts_wf = init_tractography_wf(
        tracking=tracking,
        preproc=config.preproc,
        weights=plan.weights,
        atlases=atlases,
        with_t1w=tissue_wf is not None,
        random_seed=config.deconv.random_seed,
        n_voxel=_n_voxel(plan),
        size_gb=plan.size_gb(),
        n_threads=n_threads,
        mem_gb=steps_gb(config.resources),
        model=model,
        tissues=("WM",) if model == "csd" else response_tissues(config.response, plan.shell_bvals),
        voxel_mm=_output_voxel_mm(plan, config),
    )
    save_wf = init_tractogram_derivatives_wf(
        target=target,
        model=model,
        tracking=tracking,
        weights=plan.weights,
        atlases=atlases,
        random_seed=config.deconv.random_seed,
        tissue_path=None if tissue_wf is None else tissue_path(target),
    )
    report_wf = init_tracts_report_wf(
        target=target, atlases=atlases, with_bundles=tracking.model_bundles is not None
    )
    fit_wf = workflow.get_node(f"{model_label(model)}_wf")
    _connect(workflow, fit_wf, tracts_wf, ["fod_files", "fraction_files", "map_files"])
    _connect(workflow, preproc_wf, tracts_wf, ["mask_file"])
    if plan.weights == "life":
        _connect(workflow, preproc_wf, tracts_wf, ["dwi_file", "gradients_file"])
    if tissue_wf is not None:
        _connect(workflow, tissue_wf, tracts_wf, ["tissue_dwi_file"])
    for stem in map(atlas_wf_name, atlases):
        atlas_wf = workflow.get_node(f"{stem}_wf")
        _connect(workflow, atlas_wf, tracts_wf, ["atlas_file", "table_file"], prefix=f"{stem}_")
    _connect_shared(workflow, tracts_wf, save_wf)
    _connect_shared(workflow, tracts_wf, report_wf)
    _connect(workflow, preproc_wf, report_wf, ["mask_file"])


def _init_input_wf(plan: SeriesPlan, config: RunConfig, n_threads: int) -> LiterateWorkflow:
    """Build what gives the series that models are fitted to."""
    if plan.geometry is None or isinstance(plan.series, PreprocessedSeries):
        series = cast(PreprocessedSeries, plan.series)
        ingest_wf = init_ingest_wf(
            series=series, preproc=config.preproc, size_gb=plan.acquired_gb, name="preproc_wf"
        )
        if series.own is not None:
            ingest_wf.__desc__ = retell(series.metadata.get("Methods"), ingest_wf.__desc__)
        if plan.own.results is None or not plan.own.measures:
            return ingest_wf
        return init_own_preproc_wf(
            series=series,
            own=plan.own.results,
            preproc=config.preproc,
            needs_series=plan.own.needs_series,
            size_gb=plan.acquired_gb,
            methods=ingest_wf.__desc__,
        )
    runs = plan.series.runs
    preproc_wf = init_preproc_wf(
        preproc=config.preproc,
        geometry=plan.geometry,
        slice_axis=plan.slice_axis,
        n_run=len(runs),
        size_gb=plan.acquired_gb,
        growth=plan.growth,
        n_threads=n_threads,
        ringing=plan.ringing,
    )
    preproc_wf.get_node("inputnode").inputs.trait_set(
        dwi_files=[str(run.dwi_file) for run in runs],
        bval_files=[str(run.bval_file) for run in runs],
        bvec_files=[str(run.bvec_file) for run in runs],
        phases=[run.phase for run in runs],
    )
    return preproc_wf


def _checkpoint_dir(work_dir: Path, plan: SeriesPlan, label: str) -> Path:
    return work_dir / "checkpoints" / plan.series.source_stem / label


def _n_voxel(plan: SeriesPlan) -> int:
    """Count the voxels of an image that models are fitted to."""
    return round(plan.size_gb(1) / 4e-9)


def _output_voxel_mm(plan: SeriesPlan, config: RunConfig) -> tuple[float, ...]:
    """Give the edges of the voxels that models are fitted to."""
    resolution_mm = config.preproc.output_resolution
    if plan.geometry is None or resolution_mm is None:
        return plan.voxel_mm
    return (resolution_mm,) * 3
