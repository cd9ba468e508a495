"""The graphs that bring maps of the series to other spaces, and atlases to the series."""

import re
from collections.abc import Sequence
from pathlib import Path

from nipype import Merge, Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.anat.atlas import Atlas
from shd_bids.bids.preprocessed_files import PreprocessedAnatomy
from shd_bids.config import TISSUES
from shd_bids.interfaces.anat import ResampleImage
from shd_bids.interfaces.atlas import CheckAtlas, TabulateRegions
from shd_bids.interfaces.spaces import MakeGrid, ResampleMaps

from .anat_plan import AnatPlan, OutputSpace

#: Those that do not depend on how the head lies: the others would have to be turned with it.
SCALARS = ("afd", "nufo", "gfa", "rmse")
_COUNTS = ("nufo",)


def transforms_to(space: OutputSpace, anat: AnatPlan) -> tuple[str, ...]:
    """Name the transforms from the series to a space, as a point of the space passes them."""
    if anat.given is not None:
        return ("dwi_to_template",)
    return ("t1w_to_template", "dwi_to_t1w") if space.in_template else ("dwi_to_t1w",)


def transforms_from(atlas: Atlas, anat: AnatPlan) -> tuple[str, ...]:
    """Name the transforms from an atlas to the series, as a point of the series passes them."""
    in_template = anat.template is not None and atlas.space == anat.template.name
    if anat.given is not None:
        return ("template_to_dwi",) if in_template else ()
    if in_template:
        return ("t1w_to_dwi", "template_to_t1w")
    return ("t1w_to_dwi",) if atlas.space == "T1w" else ()


def given_transforms(anatomy: PreprocessedAnatomy) -> dict[str, Path]:
    """Give the transforms that came with a series, by the names that they have above."""
    files = {
        "dwi_to_template": anatomy.to_template_file,
        "template_to_dwi": anatomy.from_template_file,
    }
    return {name: file for name, file in files.items() if file is not None}


def init_space_wf(
    *, space: OutputSpace, anat: AnatPlan, models: Sequence[str], n_threads: int, name: str
) -> LiterateWorkflow:
    """Build the way of one series' maps to one space.

    Parameters
    ----------
    space
        Where to.
    anat
        What leads there.
    models
        Labels of the models whose maps are brought, as in file names.
    n_threads
        Threads of one step.
    name
        Name of the workflow.

    Inputs
    ------
    <transform>_file
        As `transforms_to` names them.
    t1w_file
        The T1w image; only for its space.
    mask_file, b0_file
        What preprocessing gave.
    <model>_map_files, <model>_fraction_files
        What each fit gave.

    Outputs
    -------
    mask_file, b0_file
        In that space.
    <model>_map_files, <model>_fraction_files
        The same, without what would have to be turned with the head.
    """
    workflow = LiterateWorkflow(name=name)
    workflow.__desc__ = (
        f"Mask, b=0 image{' and scalar maps' if models else ''} were brought to the space of "
        f"{'the T1w image' if space.label == 'T1w' else space.label} in one interpolation. "
    )
    given = [f"{label}_{kind}_files" for label in models for kind in ("map", "fraction")]
    ways = [f"{way}_file" for way in transforms_to(space, anat)]
    inputnode = Node(
        IdentityInterface([*ways, "t1w_file", "mask_file", "b0_file", *given]), name="inputnode"
    )
    outputnode = Node(IdentityInterface(["mask_file", "b0_file", *given]), name="outputnode")
    gather_transforms = _gather(workflow, inputnode, ways)
    make_grid = Node(MakeGrid(), name="make_grid", mem_gb=0.5)
    if space.in_template:
        make_grid.inputs.reference_file = str(space.grid_file)
    else:
        workflow.connect([(inputnode, make_grid, [("t1w_file", "reference_file")])])
    if space.resolution is None:
        workflow.connect([(inputnode, make_grid, [("b0_file", "like_file")])])

    resource = {"n_procs": n_threads, "mem_gb": 1.0}
    bring = {
        "mask_file": Node(ResampleImage(kind="label"), name="bring_mask", **resource),
        "b0_file": Node(ResampleImage(), name="bring_b0", **resource),
    } | {
        field: Node(
            ResampleMaps(keys=list(SCALARS if "map" in field else TISSUES), counts=list(_COUNTS)),
            name=f"bring_{field.removesuffix('_files')}s",
            **resource,
        )
        for field in given
    }
    for field, node in bring.items():
        node.inputs.n_threads = n_threads
        source, result = ("in_files", "out_files") if field in given else ("in_file", "out_file")
        workflow.connect([
            (inputnode, node, [(field, source)]),
            (make_grid, node, [("grid_file", "reference_file")]),
            (gather_transforms, node, [("out", "transform_files")]),
            (node, outputnode, [(result, field)]),
        ])  # fmt: skip
    return workflow


def atlas_wf_name(label: str) -> str:
    """Give the name of an atlas's graph."""
    return f"atlas_{re.sub('[^A-Za-z0-9]', '_', label)}"


def describe_atlas(label: str) -> str:
    """Say how an atlas came to the series, for the methods."""
    return (
        f"The regions of the atlas {label} were brought to the diffusion images in one "
        "interpolation that keeps labels. "
    )


def init_atlas_wf(*, atlas: Atlas, anat: AnatPlan, n_threads: int) -> LiterateWorkflow:
    """Build the way of one atlas to the series.

    Parameters
    ----------
    atlas
        Its files.
    anat
        What leads to the series.
    n_threads
        Threads of one step.

    Inputs
    ------
    <transform>_file
        As `transforms_from` names them.
    b0_file
        Gives the grid.

    Outputs
    -------
    atlas_file, table_file
        Labels on the series' grid, and the regions with the voxels that each has there.
    """
    workflow = LiterateWorkflow(name=f"{atlas_wf_name(atlas.label)}_wf")
    workflow.__desc__ = describe_atlas(atlas.label)
    ways = [f"{way}_file" for way in transforms_from(atlas, anat)]
    inputnode = Node(IdentityInterface([*ways, "b0_file"]), name="inputnode")
    outputnode = Node(IdentityInterface(["atlas_file", "table_file"]), name="outputnode")
    files = {"atlas_file": str(atlas.file), "table_file": str(atlas.table_file)}
    check_atlas = Node(CheckAtlas(**files), name="check_atlas", mem_gb=1.0)
    bring_atlas = Node(
        ResampleImage(kind="label", n_threads=n_threads),
        name="bring_atlas",
        n_procs=n_threads,
        mem_gb=1.0,
    )
    tabulate_regions = Node(
        TabulateRegions(table_file=str(atlas.table_file)), name="tabulate_regions"
    )
    if ways:
        gather_transforms = _gather(workflow, inputnode, ways)
        workflow.connect([(gather_transforms, bring_atlas, [("out", "transform_files")])])
    workflow.connect([
        (inputnode, bring_atlas, [("b0_file", "reference_file")]),
        (check_atlas, bring_atlas, [("atlas_file", "in_file")]),
        (bring_atlas, tabulate_regions, [("out_file", "atlas_file")]),
        (bring_atlas, outputnode, [("out_file", "atlas_file")]),
        (tabulate_regions, outputnode, [("table_file", "table_file")]),
    ])  # fmt: skip
    return workflow


def _gather(workflow: LiterateWorkflow, inputnode: Node, ways: Sequence[str]) -> Node:
    """Line transforms up in the order in which a point passes them."""
    gather_transforms = Node(
        Merge(len(ways)), name="gather_transforms", run_without_submitting=True
    )
    workflow.connect([
        (inputnode, gather_transforms, [(way, f"in{i}") for i, way in enumerate(ways, start=1)]),
    ])  # fmt: skip
    return gather_transforms
