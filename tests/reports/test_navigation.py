"""Contents and overview: every part of the page is one link away."""

import re

from shd_bids.dwi.judgement import judge
from shd_bids.reports.judgements import judgement_fragment
from shd_bids.reports.navigation import Entry, Section, contents, overview

ONE = [
    Section("Summary", (Entry("s", "", None),)),
    Section("Diffusion data", (Entry("d1", "Shells", ""), Entry("d2", "Gradient scheme", ""))),
]
TWO = [
    Section("Quality", (Entry("q1", "", "session a"), Entry("q2", "", "session b <x>"))),
    Section("Anatomy", (Entry("a1", "T1w image", "session a"), Entry("b1", "Atlas", "session b"))),
]
FAR = judgement_fragment(judge({"mean_fd": 0.7, "max_fd": 7.15, "gradient_check": 1}))


def links(html: str) -> dict[str, str]:
    return dict(re.findall(r'<a href="#([^"]+)">(.*?)</a>', html))


def test_the_contents_list_sections_and_below_each_what_it_holds():
    html = contents("sub-01", ONE)
    found = links(html)
    assert found == {
        "Summary": "Summary", "Diffusion-data": "Diffusion data", "d1": "Shells",
        "d2": "Gradient scheme",
    }  # fmt: skip
    assert html.index("Diffusion-data") < html.index("#d1") < html.index("#d2")
    assert "<details" not in html


def test_several_series_are_folded_and_those_without_headings_are_links():
    html = contents("sub-01", TWO)
    assert links(html)["q2"] == "session b &lt;x&gt;"
    assert re.findall(r"<summary>(.*?)</summary>", html) == ["session a", "session b"]
    assert "T1w image" in html.split("<summary>session a")[1].split("</details>")[0]


def test_the_overview_shows_the_worst_verdict_in_words_and_leads_to_it():
    html = overview("sub-01", ONE, [("", "q", FAR)])
    (row,) = re.findall(r"<tr><th scope=\"row\">.*?</tr>", html, re.DOTALL)
    assert '<a href="#q"><span class="light light-poor">poor</span></a>' in row
    assert "1 poor, 1 asks for a look; 3 of" in row
    assert '<a href="#d1">Diffusion data</a>' in row
    assert "Summary" not in row


def test_a_series_that_was_not_judged_says_so_and_has_its_own_stages():
    html = overview("sub-01", TWO, [("session a", "q1", FAR), ("session b", "", "")])
    first, second = re.findall(r"<tr><th scope=\"row\">.*?</tr>", html, re.DOTALL)
    assert '<a href="#a1">Anatomy</a>' in first
    assert "not judged" in second
    assert '<a href="#b1">Anatomy</a>' in second


def test_without_series_there_is_no_overview():
    assert overview("sub-01", ONE, []) == ""
