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
from shd_bids.anat.regions import read_regions
from shd_bids.bids.columns import column_fields
from shd_bids.bids.names import ENTITY_ORDER, BidsName, derivative_path
from shd_bids.bids.preprocessed_files import PreprocessedAnatomy
from shd_bids.bids.sidecars import generic_sidecar, model_fields
from shd_bids.config import TISSUES
from shd_bids.interfaces.anat import SplitTissue
from shd_bids.interfaces.sidecars import MAP_DESCRIPTIONS

from .anat_plan import AnatPlan, OutputSpace
from .derivatives import Target, model_label, own_uris, under
from .spaces import SCALARS, atlas_wf_name, given_transforms, transforms_from, transforms_to

_REGION_COLUMNS: dict[str, tuple[str, str | None]] = {
    "index": ("Number of the region in the label image.", "1"),
    "name": ("Name of the region.", None),
    "n_voxels": ("Voxels of the region on the series' grid.", "1"),
}


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
    t1w_uris = target.uris([cast(Path, anat.t1w_file)])
    clean = t1w_path(target, anat, "T1w", ".nii.gz", desc="preproc")
    mask = t1w_path(target, anat, "mask", ".nii.gz", desc="brain")
    tissues = [t1w_path(target, anat, "probseg", ".nii.gz", label=one) for one in TISSUES]
    way = transform_path(target, anat, "t1w_to_dwi")
    b0 = target.path("dwiref", ".nii.gz", space=space)
    of_mask = {"Type": "Brain", "MaskMethodLevels": MASK_METHODS}
    saved: dict[str, tuple[str, dict[str, Any]]] = {
        "mask_dwi": (
            target.path("mask", ".nii.gz", datatype="anat", space=space, desc="T1w"),
            _describe("Brain mask of the T1w image, on the series' grid.", own_uris(mask, way))
            | of_mask,
        ),
        "tissue_dwi": (
            tissue_path(target),
            _describe(
                "Tissue probabilities of the T1w image, on the series' grid, 0 to 1.",
                own_uris(*tissues, way),
                units="1",
            )
            | {"LabelMap": list(TISSUES), "Methods": methods.strip()},
        ),
    }
    if with_t1w:
        text = "T1w image without intensity bias."
        saved["t1w"] = (
            clean,
            _describe(text, t1w_uris, units="scanner units") | {"SkullStripped": False},
        )
        saved["mask"] = mask, _describe("Brain mask of the T1w image.", own_uris(clean)) | of_mask
    for what, (start, end) in transform_ends(target, anat).items():
        if with_t1w or "dwi" in what:
            others = own_uris(b0, target.mask_path) if "dwi" in what else []
            if anat.template is not None and not others:
                others = target.uris([anat.template.t1w_file])
            saved[what] = (
                transform_path(target, anat, what),
                _describe(
                    f"Brings images of {start} to {end}; ITK, LPS.",
                    own_uris(clean, mask) + others,
                    units="mm",
                    spatial_reference=None,
                ),
            )
    inputnode = Node(
        IdentityInterface(
            [*(f"{what}_file" for what in saved), "mask_method", *["tissue_file"] * with_t1w]
        ),
        name="inputnode",
    )
    for what, (path, sidecar) in saved.items():
        node = target.sink(f"ds_{what}", {what: path}, {what: sidecar})
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
        {one: _describe(f"Probability of {one}, 0 to 1.", sources, units="1") for one in TISSUES},
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
    tissue = _describe(
        "Share of each tissue in a voxel of the series, by the tissue map that came with it.",
        tissue_uris,
        units="1",
    ) | {"LabelMap": list(TISSUES), "Methods": methods.strip()}
    if not anatomy.probseg_files:
        tissue["SourceLabels"] = anatomy.dseg_labels
    if given:
        tissue["Transforms"] = {"Template": anatomy.template, **given}
    saved = {
        "mask_dwi": (
            target.path("mask", ".nii.gz", datatype="anat", space=space, desc="T1w"),
            {"Type": "Brain"}
            | _describe(
                "Brain mask of the T1w image, on the series' grid.",
                target.uris([anatomy.mask_file]) if anatomy.mask_file else tissue_uris,
            ),
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
    text = "Mean of the preprocessed b=0 volumes."
    brought: dict[str, dict[str, tuple[str, dict[str, str], str, str | None]]] = {
        "mask_file": {"mask": ("mask", {"desc": "brain"}, "Brain mask.", None)},
        "b0_file": {"b0": ("dwiref", {}, text, "scanner units")},
    }
    for label in map(model_label, models):
        own = {"model": label}
        brought[f"{label}_map_files"] = {
            name: ("dwimap", own | {"param": name}, *MAP_DESCRIPTIONS[name]) for name in SCALARS
        }
        brought[f"{label}_fraction_files"] = {
            one: (
                "dwimap",
                own | {"param": "fraction", "label": one},
                f"Volume fraction of {one}, 0 to 1.",
                "1",
            )
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
        for key, (suffix, entities, meaning, units) in files.items():
            native = target.path(suffix, ".nii.gz", space=target.series.space_label, **entities)
            paths[key] = target.path(suffix, ".nii.gz", **here, **entities)
            sidecars[key] = (
                (model_fields(entities["model"]) if "model" in entities else {})
                | _describe(
                    meaning,
                    (target.dwi_uris if key == "b0" else own_uris(native)) + ways,
                    units=units,
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
    sidecar = _describe(
        f"Regions of the atlas {atlas.label}, on the series' grid.",
        target.uris([atlas.file, atlas.table_file])
        + _way_uris(target, anat, transforms_from(atlas, anat)),
    ) | column_fields(
        dict.fromkeys(read_regions(atlas.table_file), ("Of the atlas's own table.", None))
        | _REGION_COLUMNS
    )
    for what, extension in (("atlas", ".nii.gz"), ("table", ".tsv")):
        sidecars = {what: sidecar} if what == "atlas" else None  # one sidecar tells of both
        node = target.sink(
            f"ds_{what}", {what: target.path("dseg", extension, **entities)}, sidecars
        )
        workflow.connect([(inputnode, node, [((f"{what}_file", under, what), "in_files")])])
    return workflow


def _describe(
    description: str,
    sources: Sequence[str],
    *,
    units: str | None = None,
    spatial_reference: str | None = "orig",
) -> dict[str, Any]:
    return generic_sidecar(
        description=description,
        sources=sources,
        version=__version__,
        units=units,
        spatial_reference=spatial_reference,
    )


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
