"""Anatomy of the phantom."""

import numpy as np
import pytest

from shd_bids.testing.geometry import BENT_BUNDLES, BUNDLES, sample_anatomy

NAMES = [bundle.name for bundle in BUNDLES]


def test_tissues_fill_the_brain_and_nothing_else():
    tissue = sample_anatomy(np.array([[0.0, 0, 15], [0, 29.8, 0], [0, 40, 0], [0, 0, 60]])).tissue
    np.testing.assert_allclose(tissue.sum(axis=1), [1, 1, 0, 0], atol=0.05)


def test_the_brain_has_white_matter_inside_a_grey_rim_inside_fluid():
    points = np.array([[0.0, 12, 0], [0, 27.2, 0], [0, 30, 0], [4, -3, -1.5], [20, 4, -1]])
    largest = sample_anatomy(points).tissue.argmax(axis=1)
    np.testing.assert_array_equal(largest, [0, 1, 2, 2, 1])


def test_shares_of_the_bundles_sum_to_one():
    points = np.random.default_rng(0).uniform(-25, 25, size=(500, 3))
    anatomy = sample_anatomy(points)
    np.testing.assert_allclose(anatomy.share.sum(axis=1), 1.0)
    np.testing.assert_allclose(np.linalg.norm(anatomy.direction, axis=2), 1.0)


@pytest.mark.parametrize(
    ("name", "point_mm", "direction"),
    [
        ("callosum", (0, 2, 7), (1, 0, 0)),
        ("corticospinal-left", (-10, -1, -8), (-0.16, 0, 0.99)),
        ("arcuate-left", (-16, 0, 10), (0, 1, 0)),
    ],
)
def test_bundles_run_where_anatomy_has_them(name: str, point_mm: tuple, direction: tuple):
    anatomy = sample_anatomy(np.array([point_mm], dtype=float))
    index = NAMES.index(name)
    assert anatomy.share[0, index] > 0.25
    assert abs(anatomy.direction[0, index] @ np.array(direction)) > np.cos(np.radians(5))


def test_a_fan_spreads_on_both_sides_of_its_middle():
    index = NAMES.index("corticospinal-left")
    left, right = sample_anatomy(np.array([[-19.0, -1, 16], [-11, -1, 16]])).direction[:, index]
    assert left[0] < right[0]


def test_an_arc_turns_back_within_its_diameter():
    index = [bundle.name for bundle in BENT_BUNDLES].index("arc-posterior")
    points = np.array([[-11.0, -26, 0], [0, -14, 0], [11, -26, 0]])
    anatomy = sample_anatomy(points, BENT_BUNDLES)
    assert np.all(anatomy.share[:, index] > 0.25)
    down, across, up = anatomy.direction[:, index]
    assert down[1] > 0.7 > 0.1 > abs(across[1])
    assert up[1] < -0.7
