"""Seeds lie in white matter, evenly, and the same chance gives the same seeds."""

import numpy as np
import pytest
from tractography.fodfs import AFFINES

from shd_bids.errors import TrackingError
from shd_bids.tractography.seeds import draw_seeds, seed_voxels


def _white_matter() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(6, 5, 4)).astype(np.float32)


def test_seed_voxels_hold_more_white_matter_than_the_threshold_and_lie_in_the_mask():
    white_matter = _white_matter()
    mask = np.arange(120).reshape(6, 5, 4) % 2 == 0
    voxels = seed_voxels(white_matter, mask, threshold=0.6)
    np.testing.assert_array_equal(voxels, mask & (white_matter > 0.6))


def test_no_white_matter_is_an_error_that_says_what_there_is():
    mask = np.ones((6, 5, 4), dtype=bool)
    with pytest.raises(TrackingError, match=r"above 0\.5; the largest is 0\.30"):
        seed_voxels(np.full((6, 5, 4), 0.3), mask)
    with pytest.raises(TrackingError, match=r"largest is 0\.00"):
        seed_voxels(np.full((6, 5, 4), 0.9), ~mask)


@pytest.mark.parametrize("name", AFFINES)
def test_seeds_in_world_space_fall_in_their_voxels_evenly(name):
    voxels = _white_matter() > 0.8
    seeds = draw_seeds(voxels, AFFINES[name], 20_000, np.random.default_rng(1))
    world_to_vox = np.linalg.inv(AFFINES[name])
    seeds_vox = seeds @ world_to_vox[:3, :3].T + world_to_vox[:3, 3]
    counts = np.zeros(voxels.shape, dtype=int)
    np.add.at(counts, tuple(np.rint(seeds_vox).astype(int).T), 1)
    assert np.all(counts[~voxels] == 0)
    expected = 20_000 / voxels.sum()
    assert np.abs(counts[voxels] - expected).max() < 6 * np.sqrt(expected)
    offset = seeds_vox - np.rint(seeds_vox)
    np.testing.assert_allclose(offset.mean(axis=0), 0.0, atol=0.01)


def test_the_same_state_gives_the_same_seeds():
    voxels = _white_matter() > 0.5
    first, second, other = (
        draw_seeds(voxels, np.eye(4), 50, np.random.default_rng(seed)) for seed in (7, 7, 8)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other)
