"""Streamlines are drawn in one pass, fairly, and by the seed alone."""

import numpy as np
import pytest

from shd_bids.tractography.draw import draw_streamlines, even_lines, pick_streamlines
from shd_bids.tractography.streamlines import Streamlines

GENERATOR = np.random.default_rng(0)
LINES = [
    np.cumsum(GENERATOR.normal(size=(n, 3)), axis=0).astype(np.float32)
    for n in GENERATOR.integers(2, 30, 200)
]


def batches(n: int) -> list[Streamlines]:
    return [Streamlines.of(LINES[start : start + n]) for start in range(0, len(LINES), n)]


def test_the_draw_does_not_depend_on_the_size_of_a_batch():
    draws = [draw_streamlines(batches(n), n_most=20, random_seed=3) for n in (1, 7, 200)]
    for draw in draws[1:]:
        np.testing.assert_array_equal(draws[0].places, draw.places)
        np.testing.assert_array_equal(draws[0].streamlines.points, draw.streamlines.points)
    another = draw_streamlines(batches(7), n_most=20, random_seed=4)
    assert not np.array_equal(draws[0].places, another.places)


def test_every_streamline_has_the_same_chance():
    draws = [draw_streamlines(batches(50), n_most=50, random_seed=s).places for s in range(200)]
    counts = np.bincount(np.concatenate(draws), minlength=200)
    # Each is in a quarter of 200 draws: 50, with a standard deviation of 6.
    assert np.abs(counts - 50).max() < 5 * 6.2
    assert np.abs(counts.reshape(4, 50).mean(axis=1) - 50).max() < 5 * 6.2 / np.sqrt(50)


def test_all_are_taken_when_there_are_few():
    draw = draw_streamlines(batches(9), n_most=1000, random_seed=0)
    np.testing.assert_array_equal(draw.places, np.arange(200))
    assert draw.n_usable == 200


def test_short_streamlines_are_passed_over():
    lengths = Streamlines.of(LINES).lengths_mm
    draw = draw_streamlines(batches(9), n_most=1000, random_seed=0, min_length_mm=20.0)
    np.testing.assert_array_equal(draw.places, np.flatnonzero(lengths >= 20))
    assert draw.n_usable == len(draw.places)


def test_the_whole_streamlines_are_fetched_by_their_places():
    draw = draw_streamlines(batches(9), n_most=20, random_seed=3, n_node=20)
    fetched = pick_streamlines(batches(11), draw.places)
    whole = draw_streamlines(batches(9), n_most=20, random_seed=3).streamlines
    for place, line, drawn in zip(draw.places, fetched, whole, strict=True):
        np.testing.assert_array_equal(line, LINES[place])
        np.testing.assert_array_equal(line, drawn)
    np.testing.assert_array_equal(even_lines(fetched, 20), draw.lines(20))


def test_nothing_is_drawn_from_nothing():
    draw = draw_streamlines([], n_most=5, random_seed=0, n_node=20)
    assert draw.lines(20).shape == (0, 20, 3)
    assert draw.n_usable == 0
    assert len(pick_streamlines([], draw.places)) == 0


@pytest.mark.parametrize("n_node", [2, 20, 100])
def test_even_points_keep_the_ends(n_node):
    even = even_lines(Streamlines.of(LINES), n_node)
    np.testing.assert_allclose(even[:, [0, -1]], [[line[0], line[-1]] for line in LINES], atol=1e-4)
