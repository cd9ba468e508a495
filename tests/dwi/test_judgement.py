"""A scan is judged by limits that are stated once; what is poor says so."""

import pytest

from shd_bids.dwi.judgement import LIMITS, Verdict, judge

GOOD = {
    "mean_fd": 0.2,
    "max_fd": 1.0,
    "bad_slices_percent": 0.5,
    "raw_neighbor_corr": 0.7,
    "preproc_neighbor_corr": 0.9,
    "cnr_b1000": 1.0,
    "cnr_b3000": 0.8,
    "t1_dice_distance": 0.05,
    "rms_displacement_mm": 2.0,
    "difference_before": 0.2,
    "difference_after": 0.05,
    "gradient_check": 1,
}


def _verdicts(**measures) -> dict[str, Verdict]:
    return {one.name: one.verdict for one in judge(GOOD | measures)}


def test_a_good_scan_is_good_in_everything_and_every_shell_is_judged():
    verdicts = _verdicts()
    assert set(verdicts.values()) == {Verdict.GOOD}
    assert {"cnr_b1000", "cnr_b3000"} <= verdicts.keys()


@pytest.mark.parametrize(
    ("measure", "value", "name"),
    [
        ("mean_fd", 1.01, "mean_fd"),
        ("max_fd", 5.01, "max_fd"),
        ("bad_slices_percent", 10.1, "bad_slices_percent"),
        ("raw_neighbor_corr", 0.39, "raw_neighbor_corr"),
        ("preproc_neighbor_corr", 0.6, "neighbor_corr_gain"),
        ("cnr_b3000", 0.1, "cnr_b3000"),
        ("t1_dice_distance", 0.3, "t1_dice_distance"),
        ("difference_after", 0.21, "distortion_left"),
        ("gradient_check", -1, "gradient_check"),
    ],
)
def test_a_poor_measure_is_told_from_the_others(measure, value, name):
    poor = [key for key, verdict in _verdicts(**{measure: value}).items() if verdict == "poor"]
    assert poor == [name]


def test_a_doubt_about_the_gradients_asks_for_a_look():
    assert _verdicts(gradient_check=0)["gradient_check"] is Verdict.LOOK


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_the_limits_stand_in_the_order_of_their_verdicts(limit):
    worse = -1 if limit.more_is_better else 1
    values = [limit.look - worse, limit.look, limit.poor, limit.poor + worse]
    order = [Verdict.GOOD, Verdict.LOOK, Verdict.POOR]
    found = [order.index(limit.judge(value)) for value in values]
    assert found == sorted(found)
    assert (found[0], found[1], found[3]) == (0, 0, 2)


def test_what_was_not_measured_or_tells_nothing_is_not_judged():
    judgements = {one.name: one for one in judge({"mean_fd": float("nan")})}
    assert {one.verdict for one in judgements.values()} == {Verdict.NONE}
    told = judge(GOOD | {"t1_dice_distance": 0.9}, {"t1_dice_distance": "taken over"})
    (masks,) = [one for one in told if one.name == "t1_dice_distance"]
    assert (masks.value, masks.verdict, masks.remark) == (0.9, Verdict.NONE, "taken over")
