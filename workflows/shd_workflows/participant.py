"""The graph of one participant: its series side by side, each from raw images to streamlines."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from nipype import Node
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids import __version__
from shd_bids.bids.preprocessed import PreprocessedSeries
from shd_bids.bids.preprocessed_files import PreprocessedAnatomy
from shd_bids.config import LEVELS, SHD_MODELS, RunConfig
from shd_bids.dwi.images import open_image
from shd_bids.interfaces.judgement import WriteQuality

from .anat import init_anat_wf
from .anat_derivatives import (
    init_anat_derivatives_wf,
    init_atlas_derivatives_wf,
    init_given_anat_derivatives_wf,
    init_space_derivatives_wf,
    tissue_path,
)
from .deconvolution import init_deconvolution_wf
from .derivatives import (
    Target,
    init_model_derivatives_wf,
    init_preproc_derivatives_wf,
    init_response_derivatives_wf,
    model_label,
)
from .given_anat import init_given_anat_wf
from .ingest import init_ingest_wf
from .plan import SeriesPlan
from .preproc import init_preproc_wf
from .reports import (
    init_anat_report_wf,
    init_atlas_report_wf,
    init_fodf_report_wf,
    init_preproc_report_wf,
    init_response_report_wf,
    init_tracts_report_wf,
)
from .response import init_response_wf, response_tissues
from .sources import dataset_links
from .spaces import (
    atlas_wf_name,
    given_transforms,
    init_atlas_wf,
    init_space_wf,
    transforms_from,
    transforms_to,
)
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
        workflow.add_nodes(
            [init_series_wf(plan=plan, config=config, with_t1w=with_t1w, name=plan.name)]
        )
    return workflow


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
    links = dataset_links(config, plan.anat.references)
    target = Target(plan.series, links, execution.output_dir)
    n_threads = config.resources.omp_nthreads or 1
    size_gb = plan.size_gb()
    level = LEVELS.index(execution.level)

    preproc_wf = _init_input_wf(plan, config, n_threads)
    save_preproc_wf = init_preproc_derivatives_wf(target=target, plan=plan, preproc=config.preproc)
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
    anat_wf = None
    if plan.anat.t1w_file is not None:
        anat_wf = _add_anatomy(
            workflow, preproc_wf, write_quality, plan, target, n_threads, with_t1w
        )
    tissue_wf = anat_wf
    if anat_wf is None and plan.anat.given is not None and plan.anat.given.tissue_files:
        tissue_wf = _add_given_anatomy(workflow, preproc_wf, write_quality, plan.anat.given, target)
    _add_atlases(workflow, preproc_wf, anat_wf, plan, target, n_threads)
    models = plan.models if level >= LEVELS.index("fod") else ()
    space_wfs = _add_spaces(workflow, preproc_wf, anat_wf, plan, target, n_threads, models)
    if level < LEVELS.index("response"):
        return workflow

    response_wf = init_response_wf(
        response=config.response,
        preproc=config.preproc,
        lmax=config.deconv.lmax,
        size_gb=size_gb,
        tissues=response_tissues(config.response, plan.shell_bvals),
    )
    save_response_wf = init_response_derivatives_wf(
        target=target, preproc=config.preproc, given_files=config.response.files
    )
    _connect(workflow, preproc_wf, response_wf, _SERIES)
    _connect(workflow, preproc_wf, save_response_wf, ["gradients_file"])
    _connect(workflow, response_wf, save_response_wf, ["response_files", "method", "voxel_counts"])
    report_response_wf = init_response_report_wf(target=target, preproc=config.preproc)
    _connect(workflow, preproc_wf, report_response_wf, ["gradients_file", "mask_file", "b0_file"])
    found = ["response_files", "method", "tissues_reason", "voxels_file", "voxel_counts"]
    _connect(workflow, response_wf, report_response_wf, found)
    if level < LEVELS.index("fod"):
        return workflow

    n_coefficient = (config.deconv.lmax + 1) * (config.deconv.lmax + 2) // 2
    coefficients_gb = plan.size_gb(n_coefficient)
    report_fodf_wf = init_fodf_report_wf(
        target=target, models=plan.models, coefficients_gb=coefficients_gb
    )
    _connect(workflow, preproc_wf, report_fodf_wf, ["mask_file", "b0_file"])
    for model in plan.models:
        label = model_label(model)
        fit_wf = init_deconvolution_wf(
            model=model,
            deconv=config.deconv,
            preproc=config.preproc,
            size_gb=size_gb,
            coefficients_gb=coefficients_gb,
            n_threads=n_threads,
            checkpoint_dir=_checkpoint_dir(execution.work_dir, plan, label),
            n_direction=plan.shell_counts[-1] if plan.shell_counts else 0,
            name=f"{label}_wf",
        )
        save_fit_wf = init_model_derivatives_wf(
            target=target,
            model=model,
            preproc=config.preproc,
            with_weights=model in SHD_MODELS,
            name=f"{label}_derivatives_wf",
        )
        _connect(workflow, preproc_wf, fit_wf, _SERIES)
        _connect(workflow, response_wf, fit_wf, ["response_files"])
        _connect(workflow, preproc_wf, save_fit_wf, ["gradients_file", "mask_file"])
        _connect(workflow, response_wf, save_fit_wf, ["response_files"])
        saved = ["fod_files", "fraction_files", "map_files", "summary_file"]
        saved += ["weights_file", "history_file"] if model in SHD_MODELS else []
        _connect(workflow, fit_wf, save_fit_wf, saved)
        pictured = ["fod_files", "map_files", "fraction_files", "summary_file", "history_file"]
        _connect(workflow, fit_wf, report_fodf_wf, pictured, prefix=f"{label}_")
        for space_wf in space_wfs:
            brought = ["map_files", "fraction_files"]
            _connect(workflow, fit_wf, space_wf, brought, prefix=f"{label}_")
    if level < LEVELS.index("full") or config.tracking.skip_tractography:
        return workflow

    _add_tracts(workflow, preproc_wf, tissue_wf, plan, config, target, n_threads)
    return workflow


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
        n_voxel=round(plan.size_gb(1) / 4e-9),
        size_gb=plan.size_gb(),
        n_threads=n_threads,
        mem_gb=config.resources.mem or 8.0,
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


def _add_anatomy(
    workflow: LiterateWorkflow,
    preproc_wf: LiterateWorkflow,
    write_quality: Node,
    plan: SeriesPlan,
    target: Target,
    n_threads: int,
    with_t1w: bool,
) -> LiterateWorkflow:
    """Bring the T1w image to the series, and save, picture and measure what it gives."""
    t1w_file = cast(Path, plan.anat.t1w_file)
    t1w_gb = 4e-9 * float(np.prod(open_image(t1w_file).shape))
    anat_wf = init_anat_wf(template=plan.anat.template, size_gb=t1w_gb, n_threads=n_threads)
    anat_wf.get_node("inputnode").inputs.t1w_file = str(t1w_file)
    save_wf = init_anat_derivatives_wf(target=target, anat=plan.anat, with_t1w=with_t1w)
    _connect_anatomy(workflow, preproc_wf, write_quality, anat_wf, save_wf, target)
    return anat_wf


def _add_given_anatomy(
    workflow: LiterateWorkflow,
    preproc_wf: LiterateWorkflow,
    write_quality: Node,
    anatomy: PreprocessedAnatomy,
    target: Target,
) -> LiterateWorkflow:
    """Bring the tissues that came with a series to its grid; save, picture and measure them."""
    tissue_gb = 4e-9 * float(np.prod(open_image(anatomy.tissue_files[0]).shape))
    anat_wf = init_given_anat_wf(anatomy=anatomy, size_gb=tissue_gb)
    save_wf = init_given_anat_derivatives_wf(target=target, anatomy=anatomy)
    _connect_anatomy(workflow, preproc_wf, write_quality, anat_wf, save_wf, target)
    return anat_wf


def _connect_anatomy(
    workflow: LiterateWorkflow,
    preproc_wf: LiterateWorkflow,
    write_quality: Node,
    anat_wf: LiterateWorkflow,
    save_wf: LiterateWorkflow,
    target: Target,
) -> None:
    workflow.connect([
        (preproc_wf, anat_wf, [
            ("outputnode.b0_file", "inputnode.b0_file"),
            ("outputnode.mask_file", "inputnode.dwi_mask_file"),
        ]),
        (anat_wf, write_quality, [
            ("outputnode.t1_dice_distance", "t1_dice_distance"),
            ("outputnode.mask_method", "t1w_mask_method"),
        ]),
    ])  # fmt: skip
    _connect_shared(workflow, anat_wf, save_wf)
    _connect_shared(workflow, anat_wf, init_anat_report_wf(target=target))


def _add_atlases(
    workflow: LiterateWorkflow,
    preproc_wf: LiterateWorkflow,
    anat_wf: LiterateWorkflow | None,
    plan: SeriesPlan,
    target: Target,
    n_threads: int,
) -> None:
    """Bring the atlases to the series, and save and picture them."""
    if not plan.anat.atlases:
        return
    report_wf = init_atlas_report_wf(
        target=target, labels=[atlas.label for atlas in plan.anat.atlases]
    )
    _connect(workflow, preproc_wf, report_wf, ["b0_file", "mask_file"])
    for atlas in plan.anat.atlases:
        atlas_wf = init_atlas_wf(atlas=atlas, anat=plan.anat, n_threads=n_threads)
        _connect(workflow, preproc_wf, atlas_wf, ["b0_file"])
        _lead(workflow, anat_wf, atlas_wf, plan, transforms_from(atlas, plan.anat))
        save_wf = init_atlas_derivatives_wf(target=target, anat=plan.anat, atlas=atlas)
        _connect_shared(workflow, atlas_wf, save_wf)
        _connect(
            workflow, atlas_wf, report_wf, ["atlas_file"], prefix=f"{atlas_wf_name(atlas.label)}_"
        )


def _add_spaces(
    workflow: LiterateWorkflow,
    preproc_wf: LiterateWorkflow,
    anat_wf: LiterateWorkflow | None,
    plan: SeriesPlan,
    target: Target,
    n_threads: int,
    models: Sequence[str],
) -> list[LiterateWorkflow]:
    """Bring maps to other spaces and save them; those of models are still to be connected."""
    space_wfs = []
    for space in plan.anat.spaces:
        stem = "_".join([space.label, *([f"res{space.resolution}"] if space.resolution else [])])
        space_wf = init_space_wf(
            space=space,
            anat=plan.anat,
            models=[model_label(model) for model in models],
            n_threads=n_threads,
            name=f"space_{stem}_wf",
        )
        save_wf = init_space_derivatives_wf(
            target=target,
            anat=plan.anat,
            space=space,
            models=models,
            name=f"space_{stem}_derivatives_wf",
        )
        _connect(workflow, preproc_wf, space_wf, ["mask_file", "b0_file"])
        _lead(workflow, anat_wf, space_wf, plan, transforms_to(space, plan.anat))
        if anat_wf is not None and not space.in_template:
            _connect(workflow, anat_wf, space_wf, ["t1w_file"])
        _connect_shared(workflow, space_wf, save_wf)
        space_wfs.append(space_wf)
    return space_wfs


def _lead(
    workflow: LiterateWorkflow,
    anat_wf: LiterateWorkflow | None,
    taker: LiterateWorkflow,
    plan: SeriesPlan,
    ways: Sequence[str],
) -> None:
    """Hand transforms on: found in this run, or given with a preprocessed series."""
    if plan.anat.given is not None:
        files = given_transforms(plan.anat.given)
        taker.get_node("inputnode").inputs.trait_set(
            **{f"{way}_file": str(files[way]) for way in ways}
        )
    elif anat_wf is not None and ways:
        _connect(workflow, anat_wf, taker, [f"{way}_file" for way in ways])


def _init_input_wf(plan: SeriesPlan, config: RunConfig, n_threads: int) -> LiterateWorkflow:
    """Build what gives the series that models are fitted to."""
    if plan.geometry is None or isinstance(plan.series, PreprocessedSeries):
        return init_ingest_wf(
            series=cast(PreprocessedSeries, plan.series),
            preproc=config.preproc,
            size_gb=plan.acquired_gb,
            name="preproc_wf",
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


def _connect_shared(
    workflow: LiterateWorkflow, giver: LiterateWorkflow, taker: LiterateWorkflow
) -> None:
    """Connect all fields that one gives and the other takes."""
    taken = taker.get_node("inputnode").inputs.copyable_trait_names()
    given = giver.get_node("outputnode").inputs.copyable_trait_names()
    _connect(workflow, giver, taker, sorted(set(taken) & set(given)))


def _connect(
    workflow: LiterateWorkflow,
    giver: LiterateWorkflow,
    taker: LiterateWorkflow,
    fields: Sequence[str],
    *,
    prefix: str = "",
) -> None:
    """Connect fields of the same name, but for a prefix on the taker's side."""
    links = [(f"outputnode.{field}", f"inputnode.{prefix}{field}") for field in fields]
    workflow.connect([(giver, taker, links)])


def _checkpoint_dir(work_dir: Path, plan: SeriesPlan, label: str) -> Path:
    return work_dir / "checkpoints" / plan.series.source_stem / label


def _output_voxel_mm(plan: SeriesPlan, config: RunConfig) -> tuple[float, ...]:
    """Give the edges of the voxels that models are fitted to."""
    resolution_mm = config.preproc.output_resolution
    if plan.geometry is None or resolution_mm is None:
        return plan.voxel_mm
    return (resolution_mm,) * 3
