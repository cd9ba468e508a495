"""Profiles say what a map says along a bundle, from the same end in everybody."""

import numpy as np
import pytest
from dipy.stats.analysis import afq_profile
from dipy.tracking import Streamlines as DipyStreamlines
from tractography.fodfs import AFFINES

from shd_bids.tractography.profiles import centroid, core_weights, profile, runs_backwards

GENERATOR = np.random.default_rng(0)
GRID = (20, 22, 24)


def straight(n_line: int, affine: np.ndarray) -> np.ndarray:
    """Parallel lines along the second axis of the grid, RAS mm."""
    along = np.linspace(3, 18, 100)
    voxels = np.zeros((n_line, 100, 3))
    voxels[..., 1] = along
    voxels[..., ::2] = GENERATOR.normal(10, 1.2, (n_line, 1, 2))
    return (voxels @ affine[:3, :3].T + affine[:3, 3]).astype(np.float32)


def ramp(affine: np.ndarray) -> np.ndarray:
    """Twice the distance in mm along the second axis of the grid."""
    voxels = np.stack(np.indices(GRID), axis=-1)
    return 2.0 * voxels[..., 1] * np.linalg.norm(affine[:3, 1])


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_a_map_that_rises_evenly_gives_a_profile_that_does(affine):
    lines = straight(40, affine)
    found = profile(ramp(affine), affine, lines, core_weights(lines))
    expected = 2.0 * np.linspace(3, 18, 100) * np.linalg.norm(affine[:3, 1])
    np.testing.assert_allclose(found.mean, expected, rtol=1e-4)
    np.testing.assert_allclose(found.std, 0, atol=0.01)


def test_the_mean_is_that_of_dipy_when_the_weights_are():
    affine, lines = AFFINES["oblique"], straight(40, AFFINES["oblique"])
    data, weights = GENERATOR.normal(size=GRID), core_weights(lines)
    expected = afq_profile(data, DipyStreamlines(list(lines)), affine, weights=weights)
    np.testing.assert_allclose(
        profile(data, affine, lines, weights).mean, expected, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("n_line", [1, 2, 3, 40])
def test_weights_sum_to_one_however_few_the_streamlines(n_line):
    weights = core_weights(straight(n_line, np.eye(4)))
    np.testing.assert_allclose(weights.sum(axis=0), 1)
    assert np.isfinite(weights).all()


def test_weights_do_not_depend_on_the_axes():
    # A bundle wide askew to the axes is the same bundle turned: DIPY's weights differ here.
    lines = straight(60, np.diag([1.0, 1.0, 4.0, 1.0]))
    turn = AFFINES["oblique"][:3, :3] / 2
    np.testing.assert_allclose(
        core_weights(lines), core_weights(lines @ turn.T), rtol=0.02, atol=1e-4
    )


def test_streamlines_close_to_the_core_weigh_more():
    lines = straight(60, np.eye(4))
    distance = np.linalg.norm(lines[:, 50] - lines[:, 50].mean(axis=0), axis=1)
    weights = core_weights(lines)[:, 50]
    assert weights[distance.argmin()] > 2 * weights[distance.argmax()]


def test_voxels_without_a_value_do_not_count():
    lines, data = straight(40, np.eye(4)), np.full(GRID, 7.0)
    data[:10] = np.nan
    found = profile(data, np.eye(4), lines, core_weights(lines))
    np.testing.assert_allclose(found.mean, 7.0)
    data[:] = np.nan
    assert np.isnan(profile(data, np.eye(4), lines, core_weights(lines)).mean).all()


def test_the_centroid_starts_at_the_same_end_whatever_the_order_and_directions():
    lines = straight(30, np.eye(4))[:, ::5]
    turned = lines[::-1].copy()
    turned[::3] = turned[::3, ::-1]
    for model in (lines, turned, lines[:, ::-1]):
        middle, start = centroid(model)
        assert start == "posterior"
        assert middle[0, 1] < middle[-1, 1]


def test_streamlines_that_run_backwards_are_known():
    lines = straight(30, np.eye(4))
    middle = lines.mean(axis=0)
    lines[::3] = lines[::3, ::-1]
    np.testing.assert_array_equal(runs_backwards(lines, middle), np.arange(30) % 3 == 0)
