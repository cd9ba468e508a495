"""Small drawings: dots that hide none another, labels that can be read."""

import itertools

import numpy as np

from shd_bids.reports.study.svg import lines, nice_ticks, spread_labels, swarm, text


def test_dots_at_one_place_are_stacked_within_the_strip():
    ys = swarm(np.full(200, 50.0), 30.0, 40.0)
    assert len(set(ys)) == 200
    assert min(ys) >= 9
    assert max(ys) <= 51


def test_labels_never_lie_over_another():
    placed = spread_labels([(10.0 + i, f"sub-{i:04d}") for i in range(30)], 0, 200, 2)
    assert 2 <= len(placed) < 30
    for row in (0, 1):
        ends = sorted(
            (x, x + 6 * len(label)) if anchor == "start" else (x - 6 * len(label), x)
            for x, where, anchor, label in placed
            if where == row
        )
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ends))


def test_ticks_are_round_and_within_the_axis():
    for low, high in ((0.0, 1.0), (-0.05, 0.12), (1234.0, 9876.0), (0.00012, 0.00019)):
        ticks = nice_ticks(low, high)
        assert 2 <= len(ticks) <= 7
        assert low <= ticks[0]
        assert ticks[-1] <= high
    assert nice_ticks(3.0, 3.0) == [3.0]


def test_text_is_escaped_and_no_curve_draws_nothing():
    assert "&lt;b&gt;" in text(0, 0, "<b>")
    assert lines([], "x") == lines([[]], "x") == ""
