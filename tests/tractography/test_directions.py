"""Sets of directions cover half the sphere evenly."""

import numpy as np
import pytest

from shd_bids.tractography.directions import search_sphere, spiral, tracking_sphere


@pytest.mark.parametrize("sphere", ["search", "tracking"])
def test_half_spheres_hold_one_of_each_antipodal_pair(sphere):
    directions = search_sphere()[0] if sphere == "search" else tracking_sphere()
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0)
    cosines = np.abs(directions @ directions.T) - np.eye(len(directions))
    assert cosines.max() < np.cos(np.radians(2))


def test_no_direction_is_far_from_a_vertex():
    anywhere = spiral(5000)
    for directions, spacing_deg in ((search_sphere()[0], 4.5), (tracking_sphere(), 6.0)):
        nearest = np.abs(anywhere @ directions.T).max(axis=1)
        assert np.degrees(np.arccos(nearest.min())) < spacing_deg


def test_neighbours_are_mutual():
    _, neighbours = search_sphere()
    for vertex, near in enumerate(neighbours):
        assert all(vertex in neighbours[other] for other in near)


def test_a_spiral_integrates_polynomials():
    x, y, z = spiral(10_000).T
    np.testing.assert_allclose(
        [np.mean(x**2), np.mean(y**4), np.mean(z**6)], [1 / 3, 1 / 5, 1 / 7], rtol=1e-5
    )
