"""Streamlines follow known bundles in world space, whatever the axes of the image."""

import resource
import subprocess

import nibabel as nib
import numpy as np
import pytest
from tractography.fodfs import AFFINES, angles_deg, delta_fodf, save_image

from shd_bids.errors import TrackingError
from shd_bids.tractography import trackers, tracking
from shd_bids.tractography.grid import Grid
from shd_bids.tractography.maps import map_streamlines
from shd_bids.tractography.rules import TrackingRules
from shd_bids.tractography.seeds import SeedRegion, white_matter_seeds
from shd_bids.tractography.stopping import map_anatomy
from shd_bids.tractography.streamlines import Streamlines
from shd_bids.tractography.tracking import track_streamlines
from shd_bids.tractography.tractogram import write_tck

SHAPE = (24, 26, 22)
ALONG = np.array([0.8, 0.48, 0.36])


def _from_centre(affine: np.ndarray, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Return the place of every voxel in world space, seen from the middle of the image."""
    index = np.moveaxis(np.indices(shape), 0, -1) - (np.array(shape) - 1) / 2
    return index @ affine[:3, :3].T


def _bundle(affine: np.ndarray, along: np.ndarray = ALONG, radius_mm: float = 6.0):
    """Return fODFs, mask and fractions of a straight tube of fibres through the middle."""
    along = along / np.linalg.norm(along)
    places = _from_centre(affine)
    aside = np.linalg.norm(places - (places @ along)[..., None] * along, axis=-1)
    tube = (aside < radius_mm) & (np.abs(places @ along) < 18)
    fodf = np.zeros((*SHAPE, 45), dtype=np.float32)
    fodf[tube] = delta_fodf(along)
    grey = (~tube).astype(np.float32)
    fractions = {"WM": tube.astype(np.float32), "GM": grey, "CSF": np.zeros_like(grey)}
    return fodf, np.ones(SHAPE, dtype=bool), fractions


def _track(scene, affine, *, seed_voxels=None, tissue=None, how_many=None, n_threads=1, **rules):
    """Track, by default 100 streamlines of 10 mm or more from anywhere in white matter."""
    fodf, mask, fractions = scene
    anatomy = map_anatomy(fodf, mask, fractions, tissue)
    seeds = (
        white_matter_seeds(anatomy, affine)
        if seed_voxels is None
        else SeedRegion(seed_voxels, affine)
    )
    batches = track_streamlines(
        fodf,
        affine,
        anatomy,
        seeds,
        TrackingRules(**{"step_mm": 1.0, "min_length_mm": 10.0, **rules}),
        n_threads=n_threads,
        **(how_many or {"n_streamlines": 100}),
    )
    return [streamline for batch in batches for streamline in batch]


def _at(index: tuple[int, int, int]) -> np.ndarray:
    """Mark one voxel."""
    voxels = np.zeros(SHAPE, dtype=bool)
    voxels[index] = True
    return voxels


_STRAIGHT = [(ALONG, name) for name in AFFINES]
_STRAIGHT += [(np.array(along), "oblique") for along in ([1.0, 0, 0], [0, -0.6, 0.8])]


@pytest.mark.parametrize(
    ("method", "along", "name"),
    [(method, *case) for method in ("probabilistic", "deterministic") for case in _STRAIGHT]
    + [("ptt", ALONG, "las"), ("ptt", ALONG, "oblique-las-anisotropic")],
)
def test_a_straight_bundle_is_followed_in_world_space(method, along, name, monkeypatch):
    affine = AFFINES[name]
    n_streamlines = 100
    if method == "ptt":  # takes 15 ms a seed
        n_streamlines = 40
        monkeypatch.setattr(tracking, "_N_SEED_FIRST", 50)
    how_many = {"n_streamlines": n_streamlines}
    streamlines = _track(_bundle(affine, along), affine, method=method, how_many=how_many)
    assert len(streamlines) == n_streamlines
    spans = np.array([s[-1] - s[0] for s in streamlines])
    straight = np.linalg.norm(spans, axis=1)
    mean = np.mean(spans * np.sign(spans @ along)[:, None], axis=0)
    assert angles_deg(mean / np.linalg.norm(mean), along).item() < 2
    assert np.median(angles_deg(spans / straight[:, None], along)) < 8
    assert np.median(straight) > 20


@pytest.mark.parametrize("name", AFFINES)
def test_every_point_lies_in_white_matter(name):
    affine = AFFINES[name]
    scene = _bundle(affine)
    walks = Streamlines.of(_track(scene, affine))
    grid = Grid(affine, SHAPE)
    density = map_streamlines([walks], grid, grid.at(1.0)).density
    assert density.max() > 5
    assert np.sum(density[scene[2]["WM"] == 0]) < 0.2 * density.sum()


def test_both_ends_are_reached_from_the_middle():
    affine = AFFINES["oblique"]
    centre = affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2) + affine[:3, 3]
    middle = _at((11, 12, 10))
    for streamline in _track(_bundle(affine), affine, seed_voxels=middle):
        ends = (streamline[[0, -1]] - centre) @ ALONG
        assert ends.min() < -8
        assert ends.max() > 8


def test_a_crossing_is_passed_straight():
    affine = AFFINES["las"]
    fodf, mask, _ = _bundle(affine, np.array([1.0, 0, 0]))
    other, _, _ = _bundle(affine, np.array([0, 1.0, 0]))
    places = _from_centre(affine)
    before = (np.abs(places[..., 0]) > 10) & (fodf[..., 0] > 0)
    both = (fodf[..., :1] > 0) & (other[..., :1] > 0)
    total = np.where(both, 0.5, 1.0).astype(np.float32) * (fodf + other)
    streamlines = _track((total, mask, {}), affine, seed_voxels=before)
    spans = np.abs([s[-1] - s[0] for s in streamlines])
    assert np.mean(spans[:, 0] > 3 * spans[:, 1]) > 0.9


@pytest.mark.parametrize("method", ["probabilistic", "deterministic", "ptt", "pft"])
def test_the_same_seed_gives_the_same_streamlines_with_any_number_of_threads(method, monkeypatch):
    monkeypatch.setattr(trackers, "_N_SEED_BLOCK", 10)
    affine = AFFINES["ras"]
    scene = _bundle(affine)
    rules = {"tissue": _tissue(scene) if method == "pft" else None, "method": method}
    rules |= {"seed_voxels": _at((11, 12, 10)), "how_many": {"seeds_per_voxel": 40}}
    one = _track(scene, affine, random_seed=5, **rules)
    two = _track(scene, affine, random_seed=5, n_threads=2, **rules)
    other = _track(scene, affine, random_seed=6, **rules)
    assert len(one) > 20
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(one[0][:3], other[0][:3])


def test_those_of_a_smaller_number_come_first():
    affine = AFFINES["ras"]
    more, fewer = (
        _track(_bundle(affine), affine, how_many={"n_streamlines": n}) for n in (300, 40)
    )
    assert len(more) == 300
    assert len(fewer) == 40
    for a, b in zip(more, fewer, strict=False):
        np.testing.assert_array_equal(a, b)


def test_streamlines_from_one_voxel_differ():
    affine = AFFINES["ras"]
    streamlines = _track(_bundle(affine), affine, seed_voxels=_at((11, 12, 10)))
    first_steps = np.array([s[1] - s[0] for s in streamlines])
    assert len(np.unique(first_steps.round(3), axis=0)) > 5


@pytest.mark.parametrize("name", ["oblique", "oblique-las-anisotropic"])
def test_steps_turns_and_lengths_keep_to_the_rules(name):
    affine = AFFINES[name]
    # DIPY starts the second half along the first step in voxel indices, not in mm.
    slack_deg = 0.1 if name == "oblique" else 15.0
    rules = {"step_mm": 0.7, "max_angle_deg": 20.0, "min_length_mm": 12.0, "max_length_mm": 30.0}
    for streamline in _track(_bundle(affine), affine, **rules):
        assert streamline.dtype == np.float32
        steps = np.diff(streamline.astype(float), axis=0)
        np.testing.assert_allclose(np.linalg.norm(steps, axis=1), 0.7, rtol=1e-3)
        assert 11.99 < 0.7 * len(steps) < 30.01
        cosines = np.sum(steps[1:] * steps[:-1], axis=1) / 0.7**2
        assert np.degrees(np.arccos(np.clip(cosines.min(), -1, 1))) < 20 + slack_deg


def _tissue(scene, wet: np.ndarray | None = None) -> np.ndarray:
    """Return the tissues of the tube: grey matter around it, CSF where it is wet."""
    white = scene[2]["WM"]
    fluid = np.zeros(SHAPE, dtype=bool) if wet is None else wet
    return np.stack([white, (1 - white) * ~fluid, (1 - white) * fluid], axis=-1)


def _beyond_the_right_end() -> np.ndarray:
    wet = np.zeros(SHAPE, dtype=bool)
    wet[12:] = True
    return wet


@pytest.mark.parametrize("by", ["T1w", "deconvolution"])
@pytest.mark.parametrize(
    ("valid_ends", "share"), [("any", 1.0), ("not-csf", 0.0), ("grey-matter", 0.0)]
)
def test_streamlines_that_end_in_csf_are_dropped_when_asked(by, valid_ends, share):
    affine = AFFINES["ras"]
    fodf, mask, fractions = _bundle(affine, np.array([1.0, 0, 0]))
    tissue = _tissue((fodf, mask, fractions), _beyond_the_right_end())
    tissues = dict(zip(("WM", "GM", "CSF"), np.moveaxis(tissue, -1, 0), strict=True))
    maps = {"tissue": tissue} if by == "T1w" else {}
    scene = (fodf, mask, tissues if by == "deconvolution" else fractions)
    seeds = {"seed_voxels": _at((11, 12, 10)), "how_many": {"seeds_per_voxel": 60}}
    found = _track(scene, affine, valid_ends=valid_ends, **maps, **seeds)
    assert abs(len(found) / 60 - share) < 0.2


def test_with_white_matter_and_csf_alone_every_end_is_kept():
    affine = AFFINES["ras"]
    fodf, mask, fractions = _bundle(affine, np.array([1.0, 0, 0]))
    scene = (fodf, mask, {"WM": fractions["WM"], "CSF": fractions["GM"]})
    seeds = {"seed_voxels": _at((11, 12, 10)), "how_many": {"seeds_per_voxel": 60}}
    assert len(_track(scene, affine, valid_ends="grey-matter", **seeds)) > 50


def test_a_streamline_that_stops_inside_white_matter_is_dropped_when_asked():
    affine = AFFINES["ras"]
    scene = _bundle(affine, np.array([1.0, 0, 0]))
    tissue = _tissue(scene)
    scene[0][16:] = 0.0  # the fODFs end inside white matter
    seeds = {"seed_voxels": _at((11, 12, 10)), "how_many": {"seeds_per_voxel": 60}}
    assert len(_track(scene, affine, tissue=tissue, valid_ends="not-csf", **seeds)) > 50
    assert len(_track(scene, affine, tissue=tissue, valid_ends="grey-matter", **seeds)) < 5


def test_streamlines_go_on_into_grey_matter_that_is_known():
    affine = AFFINES["ras"]
    fodf, mask, fractions = _bundle(affine, np.array([1.0, 0, 0]))
    tissue = _tissue((fodf, mask, fractions))
    fodf[:] = delta_fodf([1, 0, 0])
    reach = [
        np.median([np.ptp(line[:, 0]) for line in _track((fodf, mask, fractions), affine, **maps)])
        for maps in ({}, {"tissue": tissue})
    ]
    assert 0.0 < reach[1] - reach[0] < 10.0


def test_particles_avoid_ends_in_white_matter():
    affine = AFFINES["ras"]
    scene = _bundle(affine, np.array([1.0, 0, 0]))
    tissue = _tissue(scene)
    scene[0][14:17, 12:] = 0.0  # a gap across half of the tube
    seeds = {"seed_voxels": _at((9, 12, 10)), "how_many": {"seeds_per_voxel": 200}}
    rules = {"tissue": tissue, "valid_ends": "grey-matter", **seeds}
    plain = _track(scene, affine, **rules)
    filtered = _track(scene, affine, method="pft", **rules)
    assert len(filtered) > len(plain)


def test_seeds_in_each_voxel_are_tracked_once():
    affine = AFFINES["ras"]
    some = np.zeros(SHAPE, dtype=bool)
    some[9:12, 12, 10] = True
    found = _track(
        _bundle(affine, np.array([1.0, 0, 0])), affine, seed_voxels=some,
        how_many={"seeds_per_voxel": 7},
    )  # fmt: skip
    assert len(found) == 21


def test_leaving_the_image_is_a_good_end():
    affine = AFFINES["ras"]
    fodf = np.broadcast_to(delta_fodf([0, 0, 1]), (*SHAPE, 45)).copy()
    streamlines = _track((fodf, np.ones(SHAPE, dtype=bool), {}), affine, min_length_mm=35.0)
    assert len(streamlines) == 100


def test_too_few_streamlines_are_said_with_their_reason(caplog, monkeypatch):
    monkeypatch.setattr(tracking, "_N_SEED_TRIAL", 500)
    affine = AFFINES["ras"]
    assert _track(_bundle(affine), affine, min_length_mm=90.0, max_length_mm=95.0) == []
    assert "gave up with 0 of 100 streamlines" in caplog.text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"step_mm": 0.0}, "--step-mm"),
        ({"max_angle_deg": 0.0}, "--max-angle-deg"),
        ({"max_angle_deg": 120.0}, "--max-angle-deg"),
        ({"min_length_mm": 300.0}, "the first must be smaller"),
        ({"how_many": {"n_streamlines": 0}}, "--n-streamlines is 0"),
        ({"how_many": {"seeds_per_voxel": 0}}, "--seeds-per-voxel 0"),
        ({"how_many": {"n_streamlines": None}}, "--seeds-per-voxel"),
        ({"method": "pft"}, "--tracking-method pft needs"),
    ],
)
def test_impossible_settings_are_refused_before_tracking(settings, words):
    affine = AFFINES["ras"]
    with pytest.raises(TrackingError, match=words):
        _track(_bundle(affine), affine, **settings)


def test_an_empty_mask_is_refused():
    affine = AFFINES["ras"]
    fodf, mask, fractions = _bundle(affine)
    with pytest.raises(TrackingError, match="no fODF to follow inside the mask"):
        _track((fodf, mask & False, fractions), affine, seed_voxels=_at((11, 12, 10)))


def test_memory_grows_with_the_white_matter_not_with_the_image():
    shape = (110, 110, 110)
    fodf = np.zeros((*shape, 6), dtype=np.float32)
    for corner in (slice(2, 12), slice(98, 108)):
        fodf[corner, corner, corner] = delta_fodf([1, 1, 1], 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    affine, mask = np.eye(4), fodf[..., 0] > 0
    anatomy = map_anatomy(fodf, mask, {})
    seeds = white_matter_seeds(anatomy, affine)
    rules = TrackingRules(step_mm=0.5, min_length_mm=5.0)
    batches = track_streamlines(fodf, affine, anatomy, seeds, rules, n_streamlines=20)
    assert sum(map(len, batches)) == 20
    # A full table would take 3.8 GB; kilobytes.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


@pytest.mark.needs_tool("tckmap")
def test_mrtrix_sees_the_streamlines_in_the_bundle(tmp_path):
    affine = AFFINES["oblique-las-anisotropic"]
    scene = _bundle(affine)
    write_tck([Streamlines.of(_track(scene, affine))], tmp_path / "bundle.tck")
    grid = save_image(scene[2]["WM"], affine, tmp_path / "grid.nii.gz")
    subprocess.run(
        ["tckmap", "-quiet", "-template", grid, tmp_path / "bundle.tck", tmp_path / "tdi.nii.gz"],
        check=True,
    )
    density = nib.load(tmp_path / "tdi.nii.gz").get_fdata()
    assert density[scene[2]["WM"] > 0].sum() > 0.75 * density.sum()
    assert density.max() > 5
