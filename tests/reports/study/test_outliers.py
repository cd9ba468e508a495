"""Who stands apart is found by measures that those who do so cannot move."""

import numpy as np
import pytest

from shd_bids.bids.study import StudyParticipant
from shd_bids.bids.study_series import StudySeries
from shd_bids.dwi.spread import LEAST_SERIES, robust_z
from shd_bids.reports.study.measures import SeriesRow
from shd_bids.reports.study.outliers import find_outliers


def _rows(values, acq=None, name="snr_b0"):
    entities = {} if acq is None else {"acq": acq}
    return [
        SeriesRow(
            StudyParticipant(f"{i:02d}"),
            StudySeries({"sub": f"{i:02d}", **entities}, "orig", {}),
            (0.0, 1000.0),
            {name: float(value)} if value is not None else {},
        )
        for i, value in enumerate(values)
    ]


def _who(rows):
    return [one.row.series.stem for one in find_outliers(rows)[1]]


def test_the_scores_of_normal_values_have_unit_spread():
    values = np.random.default_rng(0).normal(20, 3, 20_000)
    median, sigma, z_scores = robust_z(values)
    assert median == pytest.approx(20, abs=0.1)
    assert sigma == pytest.approx(3, rel=0.02)
    assert z_scores.std() == pytest.approx(1, rel=0.02)


def test_two_fifths_of_bad_values_do_not_hide_themselves():
    assert _who(_rows([10, 10.1, 9.9, 10.2, 9.8, 10.05, 50, 60, 70, 80])) == [
        f"sub-{i:02d}" for i in (9, 8, 7, 6)
    ]


def test_a_value_that_is_low_stands_apart_as_one_that_is_high():
    rows = _rows([10, 10.1, 9.9, 10.2, 9.8, 0])
    (one,) = find_outliers(rows)[1]
    assert one.value == 0
    assert one.z_score < -3.5
    assert one.spread.median == pytest.approx(9.95)


def test_one_deviation_from_what_is_the_same_for_all_others_is_found():
    assert _who(_rows([64] * 9 + [63])) == ["sub-09"]


def test_values_that_are_all_alike_have_no_outlier():
    assert _who(_rows([64] * 10)) == []


def test_rounding_makes_no_outlier():
    assert _who(_rows([2.0] * 9 + [2.00001])) == []


def test_few_series_are_not_judged_and_said_so():
    spreads, outliers = find_outliers(_rows([1, 1.1, 0.9, 50][: LEAST_SERIES - 1]))
    assert outliers == []
    assert [one.sigma for one in spreads] == [None]


def test_series_are_compared_within_their_acquisition():
    low, high = [1, 1.1, 0.9, 1.2, 0.8], [9, 9.1, 8.9, 9.2, 8.8]
    rows = _rows(low, acq="a") + _rows(high, acq="b")
    assert _who(rows) == []
    assert _who(rows + _rows([9], acq="a")) == ["sub-00_acq-a"]


def test_a_series_without_the_measure_is_left_out():
    spreads, _ = find_outliers(_rows([1, None, 1.1, 0.9, 1.2, 0.8]))
    assert [one.n_series for one in spreads] == [5]


def test_categories_are_not_compared():
    assert _who(_rows([1] * 9 + [-1], name="gradient_check")) == []
