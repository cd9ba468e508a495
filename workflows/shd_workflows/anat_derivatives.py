"""The graphs that save the structural image, what it gives, and what is brought through it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from nipype import Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids import __version__
from shd_bids.anat.atlas import Atlas
from shd_bids.anat.brain import MASK_METHODS
from shd_bids.bids.names import ENTITY_ORDER, BidsName, derivative_path
from shd_bids.bids.preprocessed_files import PreprocessedAnatomy
from shd_bids.bids.sidecars import generic_sidecar
from shd_bids.config import TISSUES
from shd_bids.interfaces.anat import SplitTissue
from shd_bids.interfaces.sidecars import MAP_DESCRIPTIONS

from .anat_plan import AnatPlan, OutputSpace
from .derivatives import Target, model_label, own_uris, under
from .spaces import SCALARS, atlas_wf_name, given_transforms, transforms_from, transforms_to


def t1w_path(target: Target, anat: AnatPlan, suffix: str, extension: str, **extra: str) -> str:
    """Give the path of what is made of the T1w image alone: named by it, not by the series."""
    name = BidsName.parse(cast(Path, anat.t1w_file))
    known = (
        {k: v for k, v in name.entities.items() if k in ENTITY_ORDER and k != "desc"}
        if name
        else {}
    )
    entities = known if "sub" in known else target.series.entities
    return derivative_path(
        {**entities, **extra}, datatype="anat", suffix=suffix, extension=extension
    ).as_posix()


def tissue_path(target: Target) -> str:
    """Give the path of the tissues of the T1w image on the series' grid."""
    return target.path("probseg", ".nii.gz", datatype="anat", space=target.series.space_label)


def transform_ends(target: Target, anat: AnatPlan) -> dict[str, tuple[str, str]]:
    """List the transforms that are saved, with the spaces that they lead from and to."""
    space = target.series.space_label
    ends = {"t1w_to_dwi": ("T1w", space), "dwi_to_t1w": (space, "T1w")}
    if anat.template is not None:
        name = anat.template.name
        ends |= {"t1w_to_template": ("T1w", name), "template_to_t1w": (name, "T1w")}
    return ends


def transform_path(target: Target, anat: AnatPlan, what: str) -> str:
    """Give the path of a transform, named by the series if it leads there."""
    start, end = transform_ends(target, anat)[what]
    entities = {"from": start, "to": end, "mode": "image"}
    if "dwi" in what:
        return target.path("xfm", ".txt", datatype="anat", **entities)
    return t1w_path(target, anat, "xfm", ".h5", **entities)


def init_anat_derivatives_wf(
    *,
    target: Target,
    anat: AnatPlan,
    with_t1w: bool,
    methods: str,
    name: str = "anat_derivatives_wf",
) -> LiterateWorkflow:
    """Save what the structural image gives, and the transforms.

    Parameters
    ----------
    target
        Where the outputs go.
    anat
        The structural image.
    with_t1w
        Whether what lies on the T1w image's own grid is saved, too. Of several series that share
        one image, one saves it.
    methods
        What was done, as a paragraph with citation keys, for a later run that goes on from here.
    name
        Name of the workflow.

    Inputs
    ------
    mask_dwi_file, tissue_dwi_file
        Brain mask and tissue probabilities of the T1w image, in the space of the series.
    t1w_to_dwi_file, dwi_to_t1w_file
        Rigid transforms.
    mask_method
        Where the brain mask comes from.
    t1w_file, mask_file, tissue_file
        The T1w image without bias, its brain and tissues on its own grid.
    t1w_to_template_file, template_to_t1w_file
        Transforms to the template and back; only with one.
    """
    workflow = LiterateWorkflow(name=name)
    space = target.series.space_label
    sources = target.uris([cast(Path, anat.t1w_file)])
    of_mask = {"Type": "Brain", "MaskMethodLevels": MASK_METHODS}
    saved: dict[str, tuple[str, dict[str, Any]]] = {
        "mask_dwi": (
            target.path("mask", ".nii.gz", datatype="anat", space=space, desc="T1w"),
            {"Description": "Brain mask of the T1w image, on the series' grid."} | of_mask,
        ),
        "tissue_dwi": (
            tissue_path(target),
            {
                "Description": "Tissue probabilities of the T1w image, on the series' grid.",
                "LabelMap": list(TISSUES),
                "Methods": methods.strip(),
            },
        ),
    }
    if with_t1w:
        saved["t1w"] = (
            t1w_path(target, anat, "T1w", ".nii.gz", desc="preproc"),
            {"Description": "T1w image without intensity bias.", "SkullStripped": False},
        )
        saved["mask"] = (
            t1w_path(target, anat, "mask", ".nii.gz", desc="brain"),
            {"Description": "Brain mask of the T1w image."} | of_mask,
        )
    for what, (start, end) in transform_ends(target, anat).items():
        if with_t1w or "dwi" in what:
            text = f"Brings images of {start} to {end}; ITK, LPS."
            saved[what] = transform_path(target, anat, what), {"Description": text}
    inputnode = Node(
        IdentityInterface(
            [*(f"{what}_file" for what in saved), "mask_method", *["tissue_file"] * with_t1w]
        ),
        name="inputnode",
    )
    for what, (path, sidecar) in saved.items():
        said = {"Sources": sources} | ({} if "_to_" in what else {"SpatialReference": "orig"})
        node = target.sink(f"ds_{what}", {what: path}, {what: sidecar | said})
        workflow.connect([(inputnode, node, [((f"{what}_file", under, what), "in_files")])])
        if what in ("mask", "mask_dwi"):
            found = ("mask_method", under, "MaskMethod")
            workflow.connect([(inputnode, node, [(found, "found")])])
    if with_t1w:
        _save_tissue(workflow, inputnode, target, anat)
    return workflow


def _save_tissue(
    workflow: LiterateWorkflow, inputnode: Node, target: Target, anat: AnatPlan
) -> None:
    sources = own_uris(
        t1w_path(target, anat, "T1w", ".nii.gz", desc="preproc"),
        t1w_path(target, anat, "mask", ".nii.gz", desc="brain"),
    )
    split_tissue = Node(SplitTissue(), name="split_tissue", mem_gb=0.5)
    ds_tissue = target.sink(
        "ds_tissue",
        {one: t1w_path(target, anat, "probseg", ".nii.gz", label=one) for one in TISSUES},
        {
            one: {
                "Description": f"Probability of {one}, 0 to 1.",
                "Sources": sources,
                "SpatialReference": "orig",
            }
            for one in TISSUES
        },
    )
    workflow.connect([
        (inputnode, split_tissue, [("tissue_file", "tissue_file")]),
        (split_tissue, ds_tissue, [("tissue_files", "in_files")]),
    ])  # fmt: skip


def init_given_anat_derivatives_wf(
    *,
    target: Target,
    anatomy: PreprocessedAnatomy,
    methods: str,
    name: str = "anat_derivatives_wf",
) -> LiterateWorkflow:
    """Save the tissues that came with a series on its grid; its transforms stay where they are.

    Parameters
    ----------
    target
        Where the outputs go.
    anatomy
        What came with the series.
    methods
        As of `init_anat_derivatives_wf`.
    name
        Name of the workflow.

    Inputs
    ------
    mask_dwi_file, tissue_dwi_file
        Brain mask and tissues, in the space of the series.
    """
    workflow = LiterateWorkflow(name=name)
    space = target.series.space_label
    tissue_uris = target.uris(anatomy.tissue_files)
    transforms = {
        "ToTemplate": anatomy.to_template_file,
        "FromTemplate": anatomy.from_template_file,
    }
    given = {what: target.uris([file])[0] for what, file in transforms.items() if file}
    tissue: dict[str, Any] = {
        "Description": "Share of each tissue in a voxel of the series, by the tissue map that came "
        "with it.",
        "LabelMap": list(TISSUES),
        "Methods": methods.strip(),
        "Sources": tissue_uris,
    }
    if not anatomy.probseg_files:
        tissue["SourceLabels"] = anatomy.dseg_labels
    if given:
        tissue["Transforms"] = {"Template": anatomy.template, **given}
    saved = {
        "mask_dwi": (
            target.path("mask", ".nii.gz", datatype="anat", space=space, desc="T1w"),
            {
                "Type": "Brain",
                "Description": "Brain mask of the T1w image, on the series' grid.",
                "Sources": target.uris([anatomy.mask_file]) if anatomy.mask_file else tissue_uris,
            },
        ),
        "tissue_dwi": (tissue_path(target), tissue),
    }
    inputnode = Node(IdentityInterface([f"{what}_file" for what in saved]), name="inputnode")
    for what, (path, sidecar) in saved.items():
        node = target.sink(f"ds_{what}", {what: path}, {what: sidecar})
        workflow.connect([(inputnode, node, [((f"{what}_file", under, what), "in_files")])])
    return workflow


def init_space_derivatives_wf(
    *, target: Target, anat: AnatPlan, space: OutputSpace, models: Sequence[str], name: str
) -> LiterateWorkflow:
    """Save the maps of one series that were brought to one space.

    Parameters
    ----------
    target
        Where the outputs go.
    anat
        What leads to the space.
    space
        Where the maps were brought to.
    models
        As in `--fod-model`.
    name
        Name of the workflow.

    Inputs
    ------
    mask_file, b0_file, <model>_map_files, <model>_fraction_files
        As `shd_workflows.spaces.init_space_wf` gives them.
    """
    workflow = LiterateWorkflow(name=name)
    brought: dict[str, dict[str, tuple[str, dict[str, str], str]]] = {
        "mask_file": {"mask": ("mask", {"desc": "brain"}, "Brain mask.")},
        "b0_file": {"b0": ("dwiref", {}, "Mean of the preprocessed b=0 volumes.")},
    }
    for label in map(model_label, models):
        own = {"model": label}
        brought[f"{label}_map_files"] = {
            name: ("dwimap", own | {"param": name}, MAP_DESCRIPTIONS[name][0]) for name in SCALARS
        }
        brought[f"{label}_fraction_files"] = {
            one: ("dwimap", own | {"param": "fraction", "label": one}, f"Volume fraction of {one}.")
            for one in TISSUES
        }
    here = {"space": space.label}
    if space.resolution is not None:
        here["res"] = str(space.resolution)
    said = _describe_space(target, anat, space)
    ways = _way_uris(target, anat, transforms_to(space, anat))
    inputnode = Node(IdentityInterface(list(brought)), name="inputnode")
    for field, files in brought.items():
        paths, sidecars = {}, {}
        for key, (suffix, entities, text) in files.items():
            native = target.path(suffix, ".nii.gz", space=target.series.space_label, **entities)
            paths[key] = target.path(suffix, ".nii.gz", **here, **entities)
            sidecars[key] = (
                generic_sidecar(
                    description=text,
                    sources=(target.dwi_uris if key == "b0" else own_uris(native)) + ways,
                    version=__version__,
                    spatial_reference=None,
                )
                | said
            )
        if field == "mask_file":
            sidecars["mask"]["Type"] = "Brain"
        node = target.sink(f"ds_{field.rsplit('_', 1)[0]}", paths, sidecars)
        key = field.removesuffix("_file")
        source = field if field.endswith("files") else (field, under, key)
        workflow.connect([(inputnode, node, [(source, "in_files")])])
    return workflow


def init_atlas_derivatives_wf(*, target: Target, anat: AnatPlan, atlas: Atlas) -> LiterateWorkflow:
    """Save one atlas on the series' grid with the table of its regions.

    Inputs
    ------
    atlas_file, table_file
        As `shd_workflows.spaces.init_atlas_wf` gives them.
    """
    workflow = LiterateWorkflow(name=f"{atlas_wf_name(atlas.label)}_derivatives_wf")
    inputnode = Node(IdentityInterface(["atlas_file", "table_file"]), name="inputnode")
    entities = {"space": target.series.space_label, "seg": atlas.label}
    sidecar = generic_sidecar(
        description=f"Regions of the atlas {atlas.label}, on the series' grid.",
        sources=target.uris([atlas.file, atlas.table_file])
        + _way_uris(target, anat, transforms_from(atlas, anat)),
        version=__version__,
    ) | {"n_voxels": {"Description": "Voxels of the region on the series' grid."}}
    for what, extension in (("atlas", ".nii.gz"), ("table", ".tsv")):
        sidecars = {what: sidecar} if what == "atlas" else None  # one sidecar tells of both
        node = target.sink(
            f"ds_{what}", {what: target.path("dseg", extension, **entities)}, sidecars
        )
        workflow.connect([(inputnode, node, [((f"{what}_file", under, what), "in_files")])])
    return workflow


def _describe_space(target: Target, anat: AnatPlan, space: OutputSpace) -> dict[str, Any]:
    """Say what maps are aligned to, and how large their voxels are."""
    if space.grid_file is None:
        reference = own_uris(t1w_path(target, anat, "T1w", ".nii.gz", desc="preproc"))
        return {
            "SpatialReference": reference[0],
            "Resolution": "Field of view of the T1w image, voxels as large as the series'.",
        }
    resolution = "Field of view of the template, voxels as large as the series'."
    if space.resolution is not None:
        resolution = f"Resolution {space.resolution} of TemplateFlow's {space.label}."
    (reference_uri,) = target.uris([space.grid_file])
    return {"SpatialReference": reference_uri, "Resolution": resolution}


def _way_uris(target: Target, anat: AnatPlan, ways: Sequence[str]) -> list[str]:
    if anat.given is not None:
        files = given_transforms(anat.given)
        return target.uris(files[way] for way in ways)
    return own_uris(*(transform_path(target, anat, way) for way in ways))
