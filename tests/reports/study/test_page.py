"""The page of a study is one file that holds everything, safe to open."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from shd_bids.bids.study import read_study
from shd_bids.reports.study.page import StudyNetwork, write_study_report
from shd_bids.reports.stylesheet import content_hash, page_style
from shd_bids.testing.study import write_study

BVALS = np.array([0.0, 1000.0, 2500.0])
AVERAGES = {
    "WM": (BVALS, np.array([[3545.0, 0, 0], [2060, -850, 170], [1240, -850, 400]])),
    "CSF": (BVALS, np.array([[10780.0], [600], [20]])),
}


class _Page(HTMLParser):
    """Every tag with its attributes, and the text of each kind of tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags:
            self.texts.setdefault(self.tags[-1][0], []).append(data)


def _report(output_dir: Path, labels=None, **more) -> str:
    return write_study_report(output_dir, read_study(output_dir, labels), **more).read_text()


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> str:
    output_dir = write_study(tmp_path_factory.mktemp("page"), 30)
    labels = [f"{number:04d}" for number in range(1, 31)]
    network = StudyNetwork("", {"sub-0001": 0.5}, [0, 10, 20], [1, 0.7, 0.5], {"Steps": 20})
    return _report(
        output_dir,
        labels,
        averages=[AVERAGES],
        networks=[network],
        messages=["sub-0003 was left out of the average."],
        methods="Responses were averaged [@shdtv].",
    )


def test_every_section_is_there_and_linked(text):
    page = _Page(text)
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert sections == [
        "Summary", "Missing-and-failed", "Quality", "Outliers", "Measures", "Distributions",
        "Responses", "Network", "Methods", "About",
    ]  # fmt: skip
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert [f"#{section}" for section in sections] == links[: len(sections)]
    assert [tag for tag, _ in page.tags if tag in ("h1", "h2")] == ["h1", *["h2"] * len(sections)]
    assert "sub-0003 was left out of the average." in text


def test_the_page_allows_its_own_script_and_style_and_nothing_else(text):
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert content_hash(style) in policy
    assert content_hash(script) in policy
    assert page_style() in style


def test_nothing_is_fetched_and_no_attribute_is_code(text):
    for tag, attributes in _Page(text).tags:
        assert tag not in ("img", "iframe", "object", "embed", "form", "base")
        assert "src" not in attributes
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        if tag == "link":
            assert attributes["href"] == "data:,"


def test_every_series_has_a_row_with_a_link_to_its_page(text):
    table = text[text.index('id="measures"') :]
    table = table[: table.index("</table>")]
    assert table.count('<th scope="row">') == 28  # of 30, one was never run and one left nothing
    assert '<a href="sub-0001.html">sub-0001</a>' in table
    assert "sub-0007.html" not in table  # has no page
    assert "sub-0009" not in table


def test_columns_are_chosen_without_a_script(text):
    assert re.search(r"#columns-1:not\(:checked\) ~ \.rows \.g1 \{ display: none; \}", text)
    assert text.index('id="columns-1"') < text.index('id="measures"')


def test_values_are_marked_by_limits_and_by_the_others(text):
    table = text[text.index('id="measures"') :]
    row = next(line for line in table.splitlines() if "sub-0005.html" in line)
    assert "light-poor" in row
    assert 'class="p o"' in row or 'class="l o"' in row


def test_distributions_name_who_stands_apart_and_draw_the_limits(text):
    figure = text[text.index("<code>mean_fd</code>") :]
    figure = figure[: figure.index("</figure>")]
    assert "sub-0005" in figure
    assert 'class="limit look"' in figure
    assert figure.count("h0") == 28  # a dot for each


def test_responses_lie_over_the_average_where_its_shells_fit(text, tmp_path):
    assert text.count('class="line average"') == 3
    other = {"WM": (np.array([0.0, 700.0]), np.array([[1.0, 0.0], [0.5, -0.2]]))}
    assert 'class="line average"' not in _report(write_study(tmp_path, 2), averages=[other])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_small_study_has_a_page(tmp_path, count):
    text = _report(write_study(tmp_path, count))
    assert ("Too few series to look for outliers" in text) == (count > 0)
    assert ("There are no participants." in text) == (count == 0)


def test_a_study_in_which_all_failed_has_a_page(tmp_path):
    output_dir = write_study(tmp_path, 1)
    labels = ["0002", "0003"]
    text = _report(output_dir, labels)
    assert text.count("not processed") >= 2
    assert 'id="Measures"' not in text


def test_texts_from_files_are_escaped(tmp_path):
    output_dir = write_study(tmp_path, 3)
    evil = "<script>alert(1)</script>"
    (crash_file,) = output_dir.rglob("crash-*")
    crash_file.write_text(f"ValueError: {evil}\n")
    qc_file = output_dir / "sub-0001/dwi/sub-0001_desc-image_qc.tsv"
    qc_file.write_text(qc_file.read_text().replace("tensor_residual", "<b>x</b>"))
    (output_dir / "sub-<b>bold").mkdir()
    text = _report(output_dir, messages=[evil])
    assert evil not in text
    assert "<b>" not in text
    assert "ValueError: &lt;script&gt;" in text


def test_a_thousand_participants_would_fit_into_five_megabytes(tmp_path):
    few = len(_report(write_study(tmp_path / "few", 5)).encode())
    more = len(_report(write_study(tmp_path / "more", 55)).encode())
    assert few + (more - few) / 50 * 1000 < 5e6
