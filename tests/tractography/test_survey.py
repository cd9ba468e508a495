"""One pass tells the length of every streamline and keeps a fair choice of them."""

import numpy as np

from shd_bids.tractography.streamlines import Streamlines
from shd_bids.tractography.survey import survey

LINES = [np.array([[0.0, 0, 0], [order, 0, 0]]) for order in range(100)]


def _batches(n: int) -> list[Streamlines]:
    return [Streamlines.of(LINES[first : first + n]) for first in range(0, len(LINES), n)]


def test_every_length_is_told_in_order():
    found = survey(_batches(7), n_shown=3, random_seed=0)
    np.testing.assert_array_equal(found.lengths_mm, np.arange(100))


def test_the_choice_is_of_the_seed_and_not_of_the_batches():
    chosen = [survey(_batches(n), n_shown=10, random_seed=1).shown for n in (1, 7, 100)]
    for other in chosen[1:]:
        np.testing.assert_array_equal(chosen[0].points, other.points)
    assert len(chosen[0]) == 10
    another = survey(_batches(7), n_shown=10, random_seed=2).shown
    assert not np.array_equal(chosen[0].points, another.points)


def test_the_chosen_stay_in_order_and_all_are_equally_likely():
    times = np.zeros(100)
    for seed in range(400):
        shown = survey(_batches(9), n_shown=25, random_seed=seed).shown
        order = shown.lengths_mm.astype(int)
        assert np.all(np.diff(order) > 0)
        times[order] += 1
    # Binomial: 100 of 400, standard deviation 8.7; with 100 of them 4.5 is beyond chance.
    assert np.abs(times - 100).max() < 4.5 * 8.7


def test_all_are_kept_when_there_are_few_and_none_when_there_are_none():
    assert len(survey(_batches(9), n_shown=1000, random_seed=0).shown) == 100
    nothing = survey([], n_shown=10, random_seed=0)
    assert len(nothing.shown) == 0
    assert nothing.lengths_mm.shape == (0,)
