"""The anatomy in the graph of one series: tissues, atlases and other spaces."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from nipype import Node
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.bids.preprocessed_files import PreprocessedAnatomy
from shd_bids.dwi.images import open_image

from .anat import init_anat_wf
from .anat_derivatives import (
    init_anat_derivatives_wf,
    init_atlas_derivatives_wf,
    init_given_anat_derivatives_wf,
    init_space_derivatives_wf,
)
from .connections import connect, connect_shared
from .derivatives import Target, model_label
from .given_anat import init_given_anat_wf
from .own_results import init_own_anat_wf, init_own_atlas_wf
from .plan import SeriesPlan
from .reports import init_anat_report_wf, init_atlas_report_wf
from .spaces import (
    atlas_wf_name,
    given_transforms,
    init_atlas_wf,
    init_space_wf,
    transforms_from,
    transforms_to,
)


def add_anatomy(
    workflow: LiterateWorkflow,
    preproc_wf: LiterateWorkflow,
    write_quality: Node | None,
    plan: SeriesPlan,
    target: Target,
    n_threads: int,
    with_t1w: bool,
) -> tuple[LiterateWorkflow | None, LiterateWorkflow | None]:
    """Add what finds the tissues of a series, if they can be had.

    Parameters
    ----------
    workflow
        The graph of the series.
    preproc_wf
        Gives the series.
    write_quality
        Takes measures; None where those of an earlier run are taken.
    plan, target, n_threads
        Of the series.
    with_t1w
        Whether this series saves what lies on the grid of the T1w image.

    Returns
    -------
    anat_wf, tissue_wf
        What leads to the T1w image and the template, and what gives tissues on the series' grid.
    """
    anat, given = plan.anat, plan.anat.given
    if plan.own.anatomy is not None:
        own_wf = init_own_anat_wf(plan.own.anatomy)
        workflow.add_nodes([own_wf])
        return (own_wf if anat.t1w_file else None), own_wf
    if anat.t1w_file is not None:
        anat_wf = _add_t1w(workflow, preproc_wf, write_quality, plan, target, n_threads, with_t1w)
        return anat_wf, anat_wf
    if given is not None and given.tissue_files:
        return None, _add_given_anatomy(workflow, preproc_wf, write_quality, given, target)
    return None, None


def _add_t1w(
    workflow: LiterateWorkflow,
    preproc_wf: LiterateWorkflow,
    write_quality: Node | None,
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
    save_wf = init_anat_derivatives_wf(
        target=target, anat=plan.anat, with_t1w=with_t1w, methods=anat_wf.visit_desc()
    )
    _join_anatomy(workflow, preproc_wf, write_quality, anat_wf, save_wf, target)
    return anat_wf


def _add_given_anatomy(
    workflow: LiterateWorkflow,
    preproc_wf: LiterateWorkflow,
    write_quality: Node | None,
    anatomy: PreprocessedAnatomy,
    target: Target,
) -> LiterateWorkflow:
    """Bring the tissues that came with a series to its grid; save, picture and measure them."""
    tissue_gb = 4e-9 * float(np.prod(open_image(anatomy.tissue_files[0]).shape))
    anat_wf = init_given_anat_wf(anatomy=anatomy, size_gb=tissue_gb)
    save_wf = init_given_anat_derivatives_wf(
        target=target, anatomy=anatomy, methods=anat_wf.visit_desc()
    )
    _join_anatomy(workflow, preproc_wf, write_quality, anat_wf, save_wf, target)
    return anat_wf


def _join_anatomy(
    workflow: LiterateWorkflow,
    preproc_wf: LiterateWorkflow,
    write_quality: Node | None,
    anat_wf: LiterateWorkflow,
    save_wf: LiterateWorkflow,
    target: Target,
) -> None:
    workflow.connect([
        (preproc_wf, anat_wf, [
            ("outputnode.b0_file", "inputnode.b0_file"),
            ("outputnode.mask_file", "inputnode.dwi_mask_file"),
        ]),
    ])  # fmt: skip
    if write_quality is not None:
        workflow.connect([
            (anat_wf, write_quality, [
                ("outputnode.t1_dice_distance", "t1_dice_distance"),
                ("outputnode.mask_method", "t1w_mask_method"),
            ]),
        ])  # fmt: skip
    connect_shared(workflow, anat_wf, save_wf)
    connect_shared(workflow, anat_wf, init_anat_report_wf(target=target))


def add_atlases(
    workflow: LiterateWorkflow,
    preproc_wf: LiterateWorkflow,
    anat_wf: LiterateWorkflow | None,
    plan: SeriesPlan,
    target: Target,
    n_threads: int,
) -> None:
    """Bring the atlases to the series, and save and picture them."""
    taken, labels = plan.own.atlases, [atlas.label for atlas in plan.anat.atlases]
    report_wf = None
    if set(labels) - set(taken):
        report_wf = init_atlas_report_wf(target=target, labels=labels)
        connect(workflow, preproc_wf, report_wf, ["b0_file", "mask_file"])
    for atlas in plan.anat.atlases:
        if atlas.label in taken and plan.own.results is not None:
            atlas_wf = init_own_atlas_wf(atlas.label, plan.own.results)
            workflow.add_nodes([atlas_wf])
        else:
            atlas_wf = init_atlas_wf(atlas=atlas, anat=plan.anat, n_threads=n_threads)
            connect(workflow, preproc_wf, atlas_wf, ["b0_file"])
            _lead(workflow, anat_wf, atlas_wf, plan, transforms_from(atlas, plan.anat))
            save_wf = init_atlas_derivatives_wf(target=target, anat=plan.anat, atlas=atlas)
            connect_shared(workflow, atlas_wf, save_wf)
        if report_wf is not None:
            prefix = f"{atlas_wf_name(atlas.label)}_"
            connect(workflow, atlas_wf, report_wf, ["atlas_file"], prefix=prefix)


def add_spaces(
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
        connect(workflow, preproc_wf, space_wf, ["mask_file", "b0_file"])
        _lead(workflow, anat_wf, space_wf, plan, transforms_to(space, plan.anat))
        if anat_wf is not None and not space.in_template:
            connect(workflow, anat_wf, space_wf, ["t1w_file"])
        connect_shared(workflow, space_wf, save_wf)
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
        connect(workflow, anat_wf, taker, [f"{way}_file" for way in ways])
