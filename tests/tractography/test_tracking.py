"""Streamlines follow known bundles in world space, whatever the axes of the image."""

import resource
import subprocess

import nibabel as nib
import numpy as np
import pytest
from tractography.fodfs import AFFINES, angles_deg, delta_fodf, save_image

from shd_bids.errors import TrackingError
from shd_bids.tractography.tracking import track_probabilistic
from shd_bids.tractography.tractogram import density_map, write_tck

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


def _track(scene, affine, **settings) -> list[np.ndarray]:
    fodf, mask, fractions = scene
    settings = {"n_streamlines": 100, "min_length_mm": 10.0, **settings}
    return list(track_probabilistic(fodf, affine, mask, fractions, **settings))


@pytest.mark.parametrize("along", [ALONG, [1, 0, 0], [0, -0.6, 0.8]], ids=["oblique", "x", "yz"])
@pytest.mark.parametrize("name", AFFINES)
def test_a_straight_bundle_is_followed_in_world_space(name, along):
    affine, along = AFFINES[name], np.array(along, dtype=float)
    streamlines = _track(_bundle(affine, along), affine)
    assert len(streamlines) == 100
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
    density = density_map(_track(scene, affine, stop_threshold=0.5), affine, SHAPE)
    assert density.max() > 5
    assert np.sum(density[scene[2]["WM"] == 0]) < 0.2 * density.sum()


def test_both_ends_are_reached_from_the_middle():
    affine = AFFINES["oblique"]
    middle = _from_centre(affine)[12, 13, 11]
    centre = affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2) + affine[:3, 3]
    for streamline in _track(_bundle(affine), affine, seeds=np.tile(centre + middle * 0, (20, 1))):
        ends = (streamline[[0, -1]] - centre) @ ALONG
        assert ends.min() < -8
        assert ends.max() > 8


def test_a_crossing_is_passed_straight():
    affine = AFFINES["las"]
    fodf, mask, _ = _bundle(affine, np.array([1.0, 0, 0]))
    other, _, _ = _bundle(affine, np.array([0, 1.0, 0]))
    places = _from_centre(affine)
    seeds_at = np.argwhere((np.abs(places[..., 0]) > 10) & (fodf[..., 0] > 0))
    seeds = seeds_at[::4] @ affine[:3, :3].T + affine[:3, 3]
    both = (fodf[..., :1] > 0) & (other[..., :1] > 0)
    total = np.where(both, 0.5, 1.0).astype(np.float32) * (fodf + other)
    streamlines = _track((total, mask, {}), affine, seeds=seeds)
    spans = np.abs([s[-1] - s[0] for s in streamlines])
    assert np.mean(spans[:, 0] > 3 * spans[:, 1]) > 0.9


def test_the_same_seed_gives_the_same_streamlines_with_any_number_of_threads():
    affine = AFFINES["ras"]
    scene = _bundle(affine)
    one = _track(scene, affine, random_seed=5)
    two = _track(scene, affine, random_seed=5, n_threads=2)
    fewer = _track(scene, affine, random_seed=5, n_streamlines=40)
    other = _track(scene, affine, random_seed=6)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(one, fewer, strict=False):
        np.testing.assert_array_equal(a, b)
    assert len(fewer) == 40
    assert not np.allclose(one[0][:3], other[0][:3])


def test_streamlines_from_one_seed_region_differ():
    affine = AFFINES["ras"]
    centre = affine[:3, 3] + np.array(SHAPE) - 1.0
    seeds = centre + np.random.default_rng(0).uniform(-0.3, 0.3, size=(50, 3))
    streamlines = _track(_bundle(affine), affine, seeds=seeds)
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


def test_with_three_tissues_a_streamline_that_ends_in_csf_is_rejected():
    affine = AFFINES["ras"]
    fodf, mask, fractions = _bundle(affine, np.array([1.0, 0, 0]))
    fluid = fractions["GM"].copy()
    fluid[:12] = 0  # CSF beyond the right end only
    wet = {"WM": fractions["WM"], "GM": fractions["GM"] - fluid, "CSF": fluid}
    seeds = affine[:3, 3] + np.tile(np.array(SHAPE) - 1.0, (30, 1))
    dry = _track((fodf, mask, fractions), affine, seeds=seeds)
    assert len(dry) == 30
    assert len(_track((fodf, mask, wet), affine, seeds=seeds)) < 5
    two_tissues = {"WM": wet["WM"], "CSF": wet["CSF"] + wet["GM"]}
    assert len(_track((fodf, mask, two_tissues), affine, seeds=seeds)) == 30


def test_leaving_the_image_is_a_good_end():
    affine = AFFINES["ras"]
    fodf = np.broadcast_to(delta_fodf([0, 0, 1]), (*SHAPE, 45)).copy()
    streamlines = _track((fodf, np.ones(SHAPE, dtype=bool), {}), affine, min_length_mm=35.0)
    assert len(streamlines) == 100


def test_when_no_streamline_is_long_enough_that_is_said(caplog):
    affine = AFFINES["ras"]
    assert _track(_bundle(affine), affine, min_length_mm=90.0) == []
    assert "gave up with 0 of 100 streamlines" in caplog.text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"step_mm": 0.0}, "--step-mm"),
        ({"max_angle_deg": 0.0}, "--max-angle-deg"),
        ({"max_angle_deg": 120.0}, "--max-angle-deg"),
        ({"n_streamlines": 0}, "--n-streamlines"),
        ({"min_length_mm": 300.0}, "the first must be smaller"),
        ({"seeds": np.zeros((0, 3))}, "No seed points were given"),
        ({"seed_threshold": 1.0}, "No voxel of the mask"),
    ],
)
def test_impossible_settings_are_refused_before_tracking(settings, words):
    affine = AFFINES["ras"]
    with pytest.raises(TrackingError, match=words):
        _track(_bundle(affine), affine, **settings)


def test_memory_grows_with_the_white_matter_not_with_the_image():
    shape = (110, 110, 110)
    fodf = np.zeros((*shape, 6), dtype=np.float32)
    for corner in (slice(2, 12), slice(98, 108)):
        fodf[corner, corner, corner] = delta_fodf([1, 1, 1], 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    streamlines = track_probabilistic(
        fodf, np.eye(4), fodf[..., 0] > 0, {}, n_streamlines=20, min_length_mm=5.0
    )
    assert len(list(streamlines)) == 20
    # A full table would take 3.8 GB; kilobytes.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


@pytest.mark.needs_tool("tckmap")
@pytest.mark.parametrize("name", AFFINES)
def test_mrtrix_sees_the_streamlines_in_the_bundle(tmp_path, name):
    affine = AFFINES[name]
    scene = _bundle(affine)
    write_tck(_track(scene, affine), tmp_path / "bundle.tck")
    grid = save_image(scene[2]["WM"], affine, tmp_path / "grid.nii.gz")
    subprocess.run(
        ["tckmap", "-quiet", "-template", grid, tmp_path / "bundle.tck", tmp_path / "tdi.nii.gz"],
        check=True,
    )
    density = nib.load(tmp_path / "tdi.nii.gz").get_fdata()
    assert density[scene[2]["WM"] > 0].sum() > 0.75 * density.sum()
    assert density.max() > 5
