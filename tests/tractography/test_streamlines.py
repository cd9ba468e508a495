"""Streamlines in two arrays are what they would be one by one."""

import numpy as np

from shd_bids.tractography.streamlines import Streamlines

GENERATOR = np.random.default_rng(0)
LINES = [GENERATOR.normal(size=(n, 3)).astype(np.float32) for n in (4, 1, 9, 2)]
BATCH = Streamlines.of(LINES)


def test_the_single_streamlines_come_back():
    for line, back in zip(LINES, BATCH, strict=True):
        np.testing.assert_array_equal(line, back)


def test_ends_are_first_and_last_points():
    np.testing.assert_array_equal(BATCH.ends, [[line[0], line[-1]] for line in LINES])


def test_lengths_are_sums_of_steps():
    one_by_one = [np.linalg.norm(np.diff(line, axis=0), axis=1).sum() for line in LINES]
    np.testing.assert_allclose(BATCH.lengths_mm, one_by_one, rtol=1e-6)


def test_owner_names_the_streamline_of_each_point():
    for order, line in enumerate(LINES):
        np.testing.assert_array_equal(BATCH.points[BATCH.owner == order], line)


def test_a_choice_keeps_whole_streamlines():
    some = BATCH.where(np.array([False, True, True, False]))
    for line, back in zip(LINES[1:3], some, strict=True):
        np.testing.assert_array_equal(line, back)


def test_no_streamline_at_all_is_allowed():
    nothing = Streamlines.of([np.zeros((0, 3))])
    assert len(nothing) == 0
    assert nothing.ends.shape == (0, 2, 3)
    assert nothing.lengths_mm.shape == (0,)
