"""The graphs that save streamlines and what is made of them."""

from collections.abc import Sequence
from typing import Any

from nipype import Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids import __version__
from shd_bids.bids.columns import column_fields
from shd_bids.bids.sidecars import generic_sidecar
from shd_bids.config import TRACTOGRAM_FORMATS, TrackingConfig
from shd_bids.interfaces.bundle_sidecars import DescribeBundles
from shd_bids.interfaces.sidecars import DescribeTractogram
from shd_bids.tractography.model_bundles import find_model_files

from .derivatives import MAPS, Target, model_label, own_uris, under
from .spaces import atlas_wf_name

_PROFILED = tuple(name for name in MAPS if name not in ("peaks", "dec"))  # one number a voxel
_MATRICES = {
    "count": ("Number of streamlines between two regions.", "1"),
    "meanlength": ("Mean length of the streamlines between two regions.", "mm"),
    "meanafd": (
        "Mean over the streamlines between two regions of the apparent fibre density along them.",
        "1",
    ),
    "weightsum": ("Sum of the weights of the streamlines between two regions.", "1"),
    "nodes": ("Regions: voxels, and ends of streamlines.", None),
}
_NAME_COLUMN: dict[str, tuple[str, str | None]] = {
    "name": ("Name of the row's region; the other columns are the regions in the same order.", None)
}
_NODE_COLUMNS: dict[str, tuple[str, str | None]] = {
    "index": ("Number of the region in the label image.", "1"),
    "name": ("Name of the region.", None),
    "n_voxels": ("Voxels of the region on the series' grid.", "1"),
    "n_ends": ("Ends of streamlines in the region.", "1"),
}


class _Names:
    """What is made of the streamlines of one model, and what it is called."""

    def __init__(self, target: Target, model: str, tracking: TrackingConfig) -> None:
        self.target, self.model, self.method = target, model, tracking.tracking_method
        self.entities = {
            "space": target.series.space_label,
            "model": model_label(model),
            "track": tracking.tracking_method,
        }
        self.uris = own_uris(self.tractogram(f".{tracking.tractogram_formats[0]}"))

    def tractogram(self, extension: str, **extra: str) -> str:
        return self.target.path("tractogram", extension, **self.entities, **extra)

    def scalar_uris(self, *params: str) -> list[str]:
        return own_uris(*(self.target.model_path(self.model, param) for param in params))

    def map(self, what: str) -> str:
        finer = {"res": "high"} if what == "tdihighres" else {}
        param = what.removesuffix("highres")
        return self.target.model_path(self.model, param, track=self.method, **finer)

    def matrix(self, atlas: str, what: str) -> str:
        return self.target.path("connectivity", ".tsv", **self.entities, seg=atlas, desc=what)


def init_tractogram_derivatives_wf(
    *,
    target: Target,
    model: str,
    tracking: TrackingConfig,
    weights: str,
    atlases: Sequence[str],
    random_seed: int,
    tissue_path: str | None,
    name: str = "tractogram_derivatives_wf",
) -> LiterateWorkflow:
    """Save the tractogram, its maps, weights, connectomes and bundles.

    Parameters
    ----------
    target
        Where the outputs go.
    model
        Whose streamlines they are, as in `--fod-model`.
    tracking
        Settings of the stage.
    weights
        ``sift2``, ``life`` or ``none``.
    atlases
        Labels of the atlases whose regions are joined.
    random_seed
        Seed of the tracking.
    tissue_path
        Path of the T1w image's tissues that streamlines stopped by, if it was so.
    name
        Name of the workflow.

    Inputs
    ------
    tractogram_files, track_map_files, n_streamlines, settings, weights_file, weights_found,
    <atlas>_connectome_files, <atlas>_connectome_found,
    bundle_files, bundle_table_file, profiles_file, bundle_counts, bundle_settings
        As `shd_workflows.tractography.init_tractography_wf` gives them.
    """
    workflow = LiterateWorkflow(name=name)
    names = _Names(target, model, tracking)
    fields = ["tractogram_files", "track_map_files", "n_streamlines", "settings"]
    fields += ["weights_file", "weights_found"] if weights != "none" else []
    for atlas in atlases:
        fields += [f"{atlas_wf_name(atlas)}_connectome_{what}" for what in ("files", "found")]
    if tracking.model_bundles is not None:
        fields += ["bundle_files", "bundle_table_file", "profiles_file"]
        fields += ["bundle_counts", "bundle_settings"]
    inputnode = Node(IdentityInterface(fields), name="inputnode")
    sources = own_uris(
        target.model_path(model, "fod", label="WM"),
        tissue_path or target.model_path(model, "fraction", label="WM"),
    )
    describe_tractogram = Node(
        DescribeTractogram(
            model=model_label(model),
            method=tracking.tracking_method,
            settings=_asked(tracking),
            random_seed=random_seed,
            sources=sources,
            tractogram_sources=names.uris,
        ),
        name="describe_tractogram",
    )
    if tracking.density_voxel_mm is not None:
        describe_tractogram.inputs.fine_voxel_mm = tracking.density_voxel_mm
    # All formats hold the same streamlines and share a name: one sidecar tells of them.
    paths = {kind: names.tractogram(f".{kind}") for kind in TRACTOGRAM_FORMATS}
    if weights == "none":  # those of an earlier run would not be of these streamlines
        paths["weights"] = names.tractogram(".tsv", desc="weights")
    ds_tractogram = target.sink("ds_tractogram", paths)
    maps = ("tdi", "tdihighres", "ends", "meanlength")
    ds_track_maps = target.sink("ds_track_maps", {what: names.map(what) for what in maps})
    first = tracking.tractogram_formats[0]
    workflow.connect([
        (inputnode, describe_tractogram, [
            ("n_streamlines", "n_streamlines"),
            ("settings", "found"),
        ]),
        (inputnode, ds_tractogram, [("tractogram_files", "in_files")]),
        (describe_tractogram, ds_tractogram, [
            (("sidecars", only, "tractogram", first), "sidecars"),
        ]),
        (inputnode, ds_track_maps, [("track_map_files", "in_files")]),
        (describe_tractogram, ds_track_maps, [("sidecars", "sidecars")]),
    ])  # fmt: skip
    if weights != "none":
        fitted = target.dwi_uris if weights == "life" else sources[:1]
        _save_weights(workflow, names, fitted)
    for atlas in atlases:
        _save_connectome(workflow, names, atlas)
    if tracking.model_bundles is not None:
        labels = list(find_model_files(tracking.model_bundles).bundles)
        _save_bundles(workflow, names, labels, random_seed)
    return workflow


def _asked(tracking: TrackingConfig) -> dict[str, Any]:
    number = (
        {"RequestedStreamlines": tracking.wanted_streamlines}
        if tracking.seeds_per_voxel is None
        else {"SeedsPerVoxel": tracking.seeds_per_voxel}
    )
    return number | {
        "SeedRegion": tracking.seed_from,
        "MaxAngleDegrees": tracking.max_angle_deg,
        "MinLengthMillimetres": tracking.min_length_mm,
        "MaxLengthMillimetres": tracking.max_length_mm,
    }


def _save_weights(workflow: LiterateWorkflow, names: _Names, fitted: Sequence[str]) -> None:
    ds_weights = names.target.sink(
        "ds_weights",
        {"weights": names.tractogram(".tsv", desc="weights")},
        {
            "weights": generic_sidecar(
                description="A weight for each streamline, in the order of the tractogram.",
                sources=[*names.uris, *fitted],
                version=__version__,
                spatial_reference=None,
            )
        },
    )
    workflow.connect([
        (workflow.get_node("inputnode"), ds_weights, [
            (("weights_file", under, "weights"), "in_files"),
            ("weights_found", "found"),
        ]),
    ])  # fmt: skip


def _save_connectome(workflow: LiterateWorkflow, names: _Names, atlas: str) -> None:
    stem = atlas_wf_name(atlas)
    regions = own_uris(
        names.target.path("dseg", ".nii.gz", space=names.target.series.space_label, seg=atlas)
    )
    more = {
        "meanafd": names.scalar_uris("afd"),
        "weightsum": own_uris(names.tractogram(".tsv", desc="weights")),
    }
    ds_connectome = names.target.sink(
        f"ds_{stem}_connectome",
        {what: names.matrix(atlas, what) for what in _MATRICES},
        {
            what: generic_sidecar(
                description=description,
                sources=[*names.uris, *regions, *more.get(what, [])],
                version=__version__,
                units=units,
                spatial_reference=None,
            )
            | column_fields(_NODE_COLUMNS if what == "nodes" else _NAME_COLUMN)
            for what, (description, units) in _MATRICES.items()
        },
    )
    workflow.connect([
        (workflow.get_node("inputnode"), ds_connectome, [
            (f"{stem}_connectome_files", "in_files"),
            (f"{stem}_connectome_found", "found"),
        ]),
    ])  # fmt: skip


def _save_bundles(
    workflow: LiterateWorkflow, names: _Names, labels: Sequence[str], random_seed: int
) -> None:
    inputnode = workflow.get_node("inputnode")
    describe_bundles = Node(
        DescribeBundles(
            sources=names.uris,
            map_sources=names.scalar_uris(*_PROFILED),
            random_seed=random_seed,
        ),
        name="describe_bundles",
    )
    ds_bundles = names.target.sink(
        "ds_bundles", {label: names.tractogram(".tck", bundle=label) for label in labels}
    )
    workflow.connect([
        (inputnode, describe_bundles, [
            ("bundle_counts", "counts"),
            ("bundle_settings", "settings"),
        ]),
        (inputnode, ds_bundles, [("bundle_files", "in_files")]),
        (describe_bundles, ds_bundles, [("sidecars", "sidecars")]),
    ])  # fmt: skip
    for field, desc in (("bundle_table_file", "bundles"), ("profiles_file", "profiles")):
        key = f"{desc}.tsv"
        ds_table = names.target.sink(f"ds_{desc}_table", {key: names.tractogram(".tsv", desc=desc)})
        workflow.connect([
            (inputnode, ds_table, [((field, under, key), "in_files")]),
            (describe_bundles, ds_table, [("sidecars", "sidecars")]),
        ])  # fmt: skip


def only(sidecars: dict, key: str, name: str) -> dict:
    """Take one of the sidecars, under another name."""
    return {name: sidecars[key]}
