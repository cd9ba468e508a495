"""The judgement on the page: a warning for what is poor, and all limits."""

from shd_bids.dwi.judgement import judge
from shd_bids.reports.judgements import judgement_fragment, tally

GOOD = {"mean_fd": 0.2, "max_fd": 1.0, "gradient_check": 1}


def test_what_is_poor_is_an_alert_with_its_value_and_meaning():
    html = judgement_fragment(judge(GOOD | {"max_fd": 7.15}))
    (alert,) = [line for line in html.splitlines() if "alert-danger" in line]
    assert "7.15 mm" in alert
    assert "moved far" in alert
    assert html.count("light-poor") == 1


def test_what_lies_between_its_limits_asks_for_a_look_by_name():
    html = judgement_fragment(judge(GOOD | {"mean_fd": 0.7}))
    (alert,) = [line for line in html.splitlines() if "alert-" in line]
    assert "alert-warning" in alert
    assert "Framewise displacement, mean" in alert
    assert html.count("light-look") == 1


def test_a_scan_that_asks_for_nothing_says_so_and_shows_its_limits():
    html = judgement_fragment(judge(GOOD))
    assert "alert-success" in html
    assert "alert-danger" not in html
    assert '<td class="short">≤ 0.5 mm</td><td class="short">&gt; 1 mm</td>' in html
    assert '<td class="short">yes</td><td class="short">yes</td><td class="short">no</td>' in html
    assert "not measured" in html


def test_the_tally_is_read_back_from_the_fragment():
    verdict, words = tally(judgement_fragment(judge(GOOD | {"max_fd": 7.15, "mean_fd": 0.7})))
    assert verdict.name == "POOR"
    assert words.startswith("1 poor, 1 asks for a look; 3 of ")
    verdict, words = tally(judgement_fragment(judge(GOOD)))
    assert verdict.name == "GOOD"
    assert words.startswith("nothing asks for a look; 3 of ")
    assert tally(judgement_fragment(judge({})))[0].name == "NONE"
