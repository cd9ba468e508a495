"""One pass tells the length of every streamline and keeps some of them."""

import numpy as np

from shd_bids.tractography.streamlines import Streamlines
from shd_bids.tractography.survey import survey

LINES = [np.array([[0.0, 0, 0], [length, 0, 0]]) for length in range(1, 101)]


def _batches(n: int) -> list[Streamlines]:
    return [Streamlines.of(LINES[first : first + n]) for first in range(0, len(LINES), n)]


def test_every_length_is_told_in_order():
    found = survey(_batches(7), n_shown=3, random_seed=0)
    np.testing.assert_array_equal(found.lengths_mm, np.arange(1, 101))


def test_some_are_shown_as_they_are_in_the_order_of_the_file():
    shown = survey(_batches(7), n_shown=10, random_seed=1).shown
    lengths = shown.lengths_mm.astype(int)
    assert len(lengths) == 10
    assert np.all(np.diff(lengths) > 0)
    for length, line in zip(lengths, shown, strict=True):
        np.testing.assert_array_equal(line, LINES[length - 1])


def test_all_are_kept_when_there_are_few_and_none_when_there_are_none():
    assert len(survey(_batches(9), n_shown=1000, random_seed=0).shown) == 100
    nothing = survey([], n_shown=10, random_seed=0)
    assert len(nothing.shown) == 0
    assert nothing.lengths_mm.shape == (0,)
