"""The graph that follows fibre orientations, and what is made of the streamlines."""

from collections.abc import Sequence
from pathlib import Path

from nipype import Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.config import SEED_PLACES, TISSUES, PreprocConfig, TrackingConfig
from shd_bids.interfaces.bundles import RecogniseBundles
from shd_bids.interfaces.connectome import BuildConnectome
from shd_bids.interfaces.tractograms import ConvertTractogram, MapStreamlines
from shd_bids.interfaces.tractography import TrackStreamlines
from shd_bids.interfaces.weights import WeighByLife, WeighBySift2
from shd_bids.tractography.model_bundles import find_model_files

from .spaces import atlas_wf_name
from .tracking_texts import describe_tracking

_SEEDED = 0.15  # streamlines for each seed that a voxel of the image would get
_SIFT2_STREAMLINE_GB = 1e-6  # a length in each of the fixels that it passes
_SIFT2_VOXEL_GB = 1e-6


def init_tractography_wf(
    *,
    tracking: TrackingConfig,
    preproc: PreprocConfig,
    weights: str,
    atlases: Sequence[str],
    with_t1w: bool,
    random_seed: int,
    n_voxel: int,
    size_gb: float,
    n_threads: int,
    mem_gb: float,
    model: str = "shd-tv",
    tissues: Sequence[str] = TISSUES,
    voxel_mm: Sequence[float] = (),
    name: str = "tractography_wf",
) -> LiterateWorkflow:
    """Build the tracking of one model.

    Parameters
    ----------
    tracking
        Settings of the stage.
    preproc
        Its b=0 threshold and shell tolerance.
    weights
        ``sift2``, ``life`` or ``none``: how streamlines are weighed.
    atlases
        Labels of the atlases whose regions are joined.
    with_t1w
        Whether there are tissues of a T1w image to stop by.
    random_seed
        Seed of seeds and directions.
    n_voxel
        Voxels of the image.
    size_gb
        Size of the series as 32-bit floats, in GB.
    n_threads
        Threads of one step.
    mem_gb
        Memory that all steps may use, GB.
    model, tissues, voxel_mm
        What is tracked, tissues that it tells apart and edges of a voxel, for the methods.
    name
        Name of the workflow.

    Inputs
    ------
    fod_files, fraction_files, map_files
        Harmonics and volume fraction by tissue, maps by parameter.
    mask_file
        Brain mask.
    dwi_file, gradients_file
        The series; only for ``life``.
    tissue_dwi_file
        Tissues of the T1w image on the series' grid; only `with_t1w`.
    <atlas>_atlas_file, <atlas>_table_file
        Regions on the series' grid and their names.

    Outputs
    -------
    tck_file
        Streamlines, TCK.
    tractogram_files
        Streamlines by format.
    track_map_files
        Density, ends and mean length, by parameter.
    n_streamlines
        Number of streamlines.
    settings
        What came out, for sidecars.
    weights_file, weights_found
        A weight per streamline and how it came about; only with weights.
    <atlas>_connectome_files, <atlas>_connectome_found
        Matrices and nodes of an atlas, and how ends were assigned.
    bundle_files, bundle_table_file, profiles_file, bundle_counts, bundle_settings
        What was recognised; only with model bundles.
    """
    workflow = LiterateWorkflow(name=name)
    workflow.__desc__ = describe_tracking(
        tracking,
        weights=weights,
        atlases=atlases,
        with_t1w=with_t1w,
        tissues=tissues,
        model=model,
        voxel_mm=voxel_mm,
        random_seed=random_seed,
    )
    given = ["fod_files", "fraction_files", "map_files", "mask_file"]
    given += ["dwi_file", "gradients_file"] if weights == "life" else []
    given += ["tissue_dwi_file"] if with_t1w else []
    regions = {label: atlas_wf_name(label) for label in atlases}
    given += [f"{name}_{what}_file" for name in regions.values() for what in ("atlas", "table")]
    results = ["tck_file", "tractogram_files", "track_map_files", "n_streamlines", "settings"]
    results += ["weights_file", "weights_found"] if weights != "none" else []
    results += [
        f"{name}_connectome_{what}" for name in regions.values() for what in ("files", "found")
    ]
    if tracking.model_bundles is not None:
        results += ["bundle_files", "bundle_table_file", "profiles_file"]
        results += ["bundle_counts", "bundle_settings"]
    inputnode = Node(IdentityInterface(given), name="inputnode")
    outputnode = Node(IdentityInterface(results), name="outputnode")
    track_streamlines = Node(
        TrackStreamlines(
            method=tracking.tracking_method,
            seed_from=tracking.seed_from if tracking.seed_from in SEED_PLACES else "image",
            max_angle_deg=tracking.max_angle_deg,
            min_length_mm=tracking.min_length_mm,
            max_length_mm=tracking.max_length_mm,
            valid_ends=tracking.valid_ends,
            random_seed=random_seed,
            n_threads=n_threads,
        ),
        name="track_streamlines",
        n_procs=n_threads,
        mem_gb=1.0
        + 1.5e-6 * n_voxel,  # 3 kB for each voxel of a brain that fills half of the image
    )
    if tracking.seed_from not in SEED_PLACES:
        track_streamlines.inputs.seed_file = tracking.seed_from
    if tracking.seeds_per_voxel is not None:
        track_streamlines.inputs.seeds_per_voxel = tracking.seeds_per_voxel
    else:
        track_streamlines.inputs.n_streamlines = tracking.wanted_streamlines
    if tracking.step_mm is not None:
        track_streamlines.inputs.step_mm = tracking.step_mm
    map_streamlines = Node(MapStreamlines(), name="map_streamlines", mem_gb=1.0)
    if tracking.density_voxel_mm is not None:
        map_streamlines.inputs.density_voxel_mm = tracking.density_voxel_mm
    convert_tractogram = Node(
        ConvertTractogram(formats=list(tracking.tractogram_formats)),
        name="convert_tractogram",
        mem_gb=1.0,
    )
    if with_t1w:
        workflow.connect([(inputnode, track_streamlines, [("tissue_dwi_file", "tissue_file")])])
    workflow.connect([
        (inputnode, track_streamlines, [
            ("fod_files", "fod_files"),
            ("fraction_files", "fraction_files"),
            ("mask_file", "mask_file"),
        ]),
        (inputnode, map_streamlines, [("mask_file", "reference_file")]),
        (track_streamlines, map_streamlines, [("tck_file", "tractogram_file")]),
        (inputnode, convert_tractogram, [("mask_file", "reference_file")]),
        (track_streamlines, convert_tractogram, [("tck_file", "tractogram_file")]),
        (track_streamlines, outputnode, [
            ("tck_file", "tck_file"),
            ("n_streamlines", "n_streamlines"),
            ("settings", "settings"),
        ]),
        (map_streamlines, outputnode, [("map_files", "track_map_files")]),
        (convert_tractogram, outputnode, [("tractogram_files", "tractogram_files")]),
    ])  # fmt: skip
    weigh_streamlines = None
    if weights != "none":
        n_streamline = tracking.wanted_streamlines
        if tracking.seeds_per_voxel is not None:
            n_streamline = round(tracking.seeds_per_voxel * n_voxel * _SEEDED)
        sift2_gb = 1.0 + _SIFT2_STREAMLINE_GB * n_streamline + _SIFT2_VOXEL_GB * n_voxel
        need_gb = sift2_gb if weights == "sift2" else max(0.5 * mem_gb, 1.0)
        weigh_streamlines = _weigh(workflow, weights, preproc, size_gb, n_threads, need_gb)
        workflow.connect([
            (weigh_streamlines, convert_tractogram, [("weights_file", "weights_file")]),
        ])  # fmt: skip
    for name in regions.values():
        _connect_regions(workflow, name, tracking.assignment_radius_mm, weigh_streamlines)
    if tracking.model_bundles is not None:
        _find_bundles(workflow, tracking.model_bundles, random_seed)
    return workflow


def _weigh(
    workflow: LiterateWorkflow,
    method: str,
    preproc: PreprocConfig,
    size_gb: float,
    n_threads: int,
    need_gb: float,
) -> Node:
    """Give each streamline a weight, in so much memory."""
    inputnode, outputnode = workflow.get_node("inputnode"), workflow.get_node("outputnode")
    if method == "sift2":
        interface, fields = WeighBySift2(n_threads=n_threads), ["fod_files"]
    else:
        interface = WeighByLife(
            b0_threshold=preproc.b0_threshold,
            shell_tolerance=preproc.shell_tolerance,
            max_gb=max(need_gb - size_gb, 0.5),
        )
        fields = ["dwi_file", "gradients_file"]
    weigh_streamlines = Node(interface, name="weigh_streamlines", n_procs=n_threads, mem_gb=need_gb)
    workflow.connect([
        (inputnode, weigh_streamlines, [
            (field, field) for field in [*fields, "fraction_files", "mask_file"]
        ]),
        (workflow.get_node("track_streamlines"), weigh_streamlines, [
            ("tck_file", "tck_file"),
            ("n_streamlines", "n_streamlines"),
        ]),
        (weigh_streamlines, outputnode, [
            ("weights_file", "weights_file"),
            ("found", "weights_found"),
        ]),
    ])  # fmt: skip
    return weigh_streamlines


def _connect_regions(
    workflow: LiterateWorkflow, name: str, radius_mm: float, weigh_streamlines: Node | None
) -> None:
    """Count the streamlines between the regions of one atlas."""
    inputnode, outputnode = workflow.get_node("inputnode"), workflow.get_node("outputnode")
    build_connectome = Node(
        BuildConnectome(radius_mm=radius_mm), name=f"build_{name}_connectome", mem_gb=1.0
    )
    workflow.connect([
        (inputnode, build_connectome, [
            (f"{name}_atlas_file", "atlas_file"),
            (f"{name}_table_file", "table_file"),
            (("map_files", _afd), "afd_file"),
        ]),
        (workflow.get_node("track_streamlines"), build_connectome, [("tck_file", "tck_file")]),
        (build_connectome, outputnode, [
            ("table_files", f"{name}_connectome_files"),
            ("found", f"{name}_connectome_found"),
        ]),
    ])  # fmt: skip
    if weigh_streamlines is not None:
        workflow.connect(
            [(weigh_streamlines, build_connectome, [("weights_file", "weights_file")])]
        )


def _find_bundles(workflow: LiterateWorkflow, model_dir: Path, random_seed: int) -> None:
    """Look for the bundles that the user gave models of."""
    recognise_bundles = Node(
        RecogniseBundles(
            model_dir=str(model_dir),
            model_files=[str(file) for file in find_model_files(model_dir).all],
            random_seed=random_seed,
        ),
        name="recognise_bundles",
        mem_gb=4.0,
    )
    workflow.connect([
        (workflow.get_node("inputnode"), recognise_bundles, [
            (("map_files", _profiled), "map_files"),
        ]),
        (workflow.get_node("track_streamlines"), recognise_bundles, [
            ("tck_file", "tractogram_file"),
        ]),
        (recognise_bundles, workflow.get_node("outputnode"), [
            ("bundle_files", "bundle_files"),
            ("table_file", "bundle_table_file"),
            ("profiles_file", "profiles_file"),
            ("counts", "bundle_counts"),
            ("settings", "bundle_settings"),
        ]),
    ])  # fmt: skip


def _afd(files: dict) -> str:
    return files["afd"]


def _profiled(files: dict) -> dict:
    """Leave out maps of several numbers per voxel: what lies along a bundle is one."""
    return {name: file for name, file in files.items() if name not in ("peaks", "dec")}
