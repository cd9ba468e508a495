"""Gradient schemes of the phantom."""

import numpy as np
import pytest

from shd_bids.testing.scheme import make_scheme, spread_directions


@pytest.mark.parametrize(("n_direction", "least_deg"), [(6, 60.0), (30, 23.0), (60, 16.0)])
def test_directions_are_unit_vectors_far_from_each_other(n_direction: int, least_deg: float):
    axes = spread_directions(n_direction, seed=3)
    np.testing.assert_allclose(np.linalg.norm(axes, axis=1), 1.0)
    cosine = np.abs(axes @ axes.T) - np.eye(n_direction)
    assert np.degrees(np.arccos(cosine.max())) > least_deg


def test_directions_weigh_all_orientations_alike():
    axes = spread_directions(60, seed=3)
    np.testing.assert_allclose(axes.T @ axes / 60, np.eye(3) / 3, atol=0.01)


def test_the_same_seed_gives_the_same_scheme():
    np.testing.assert_array_equal(*(make_scheme({0: 2, 1000: 8}, seed=5)[1] for _ in range(2)))


def test_a_scheme_has_the_volumes_asked_for_and_no_direction_at_b0():
    bvals, bvecs = make_scheme({0: 3, 1000: 10, 2500: 20}, seed=1)
    values, counts = np.unique(bvals, return_counts=True)
    np.testing.assert_array_equal(values, [0, 1000, 2500])
    np.testing.assert_array_equal(counts, [3, 10, 20])
    assert bvals[0] == 0
    np.testing.assert_array_equal(bvecs[bvals == 0], 0.0)
