"""The whole page, read as a reader with keyboard and screen reader would: nothing is missing."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure

from shd_bids.dwi.judgement import judge
from shd_bids.reports.dress import OVERVIEW_MARK
from shd_bids.reports.figures.flicker import write_flicker
from shd_bids.reports.fragments import data_table, fact_table, state_line
from shd_bids.reports.html import assemble_report, figure_path
from shd_bids.reports.judgements import judgement_fragment
from shd_bids.reports.methods import write_citation

SPEC = Path(__file__).parents[2] / "shd_bids/data/report_spec.yml"
VOID = {"img", "meta", "link", "input", "br", "hr"}
METHODS = "## Fibres\n\nFound by SHD-TV [@shdtv].\n\n## Tracts\n\nNone."
TABLES = data_table(["b", "n"], [[0, 6]]) + fact_table({"Voxels": "2 x 2"})


class Reader(HTMLParser):
    """Keeps all tags with their attributes, and what was left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that holds nothing."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        """Refuse what closes another tag than the last."""
        assert self.open.pop() == tag

    def all(self, *names: str) -> Iterator[dict[str, str]]:
        """Give the attributes of all tags of some names."""
        return (attrs for tag, attrs in self.tags if tag in names)


def fill(root: Path, series: list[dict[str, str]]) -> None:
    """Write a figure for everything that the page can show."""
    spec = yaml.safe_load(SPEC.read_text())
    drawn = Figure(figsize=(1, 0.5))
    drawn.add_subplot().imshow(np.eye(2))
    for section in spec["sections"]:
        for entities in series if section.get("each") == "series" else [{"sub": "01"}]:
            for reportlet in section["reportlets"]:
                what = reportlet["bids"]["desc"]
                # What is a picture tells how to read it.
                kind = ".png" if "description" in reportlet else ".html"
                kind = {"judgement": ".html", "denoising": ".svg", "distortion": ".svg"}.get(
                    what, kind
                )
                file = root / figure_path(entities, what, kind)
                file.parent.mkdir(parents=True, exist_ok=True)
                if kind == ".svg":
                    write_flicker(drawn, drawn, file, title="Both")
                elif kind == ".png":
                    drawn.savefig(file, dpi=30)
                elif what == "judgement":
                    file.write_text(judgement_fragment(judge({"mean_fd": 0.7})))
                elif what == "summary":
                    file.write_text(f"{state_line(['It broke.'])}\n{OVERVIEW_MARK}\n{TABLES}")
                else:
                    file.write_text(f"<h4>Numbers</h4>{TABLES}")


@pytest.fixture(scope="module", params=["one series", "two sessions"])
def page(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("a b")
    series = [{"sub": "01"}]
    if request.param == "two sessions":
        series = [{"sub": "01", "ses": "a"}, {"sub": "01", "ses": "b", "acq": "hi", "run": "1"}]
    fill(root, series)
    write_citation(METHODS, root / "logs")
    file = assemble_report(root, "01", "run", methods=METHODS)
    return file, Reader(file.read_text(encoding="utf-8"))


def test_all_tags_are_closed_in_their_order(page):
    assert page[1].open == []


def test_every_picture_is_described(page):
    pictures = list(page[1].all("img"))
    assert len(pictures) >= 20
    assert all(len(attrs["alt"]) > 8 for attrs in pictures)


def test_identifiers_are_unique_and_all_that_is_referred_to_exists(page):
    names = [attrs["id"] for _, attrs in page[1].tags if "id" in attrs]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[\w-]+", name) for name in names)
    for _, attrs in page[1].tags:
        referred = [attrs.get(key) for key in ("aria-describedby", "aria-labelledby", "for")]
        assert {name for name in referred if name} <= set(names)
    anchors = [a["href"][1:] for a in page[1].all("a") if a["href"].startswith("#")]
    assert set(map(unquote, anchors)) <= set(names)


def test_radio_buttons_of_one_picture_are_a_group_of_their_own(page):
    groups = [attrs["name"] for attrs in page[1].all("input")]
    assert groups
    assert all(groups.count(name) == 3 for name in groups)


def test_headings_begin_with_the_title_and_never_jump(page):
    levels = [int(tag[1]) for tag, _ in page[1].tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(step <= 1 for step in np.diff(levels))


def test_every_file_that_is_shown_or_linked_exists(page):
    file, reader = page
    shown = [attrs.get("src", "") for attrs in reader.all("img")]
    linked = [a["href"] for a in reader.all("a") if urlsplit(a["href"]).scheme != "https"]
    paths = {urlsplit(address).path for address in shown + linked} - {""}
    assert len(paths) >= 20
    assert all((file.parent / unquote(path)).is_file() for path in paths)


def test_nothing_is_fetched_from_elsewhere_and_nothing_stands_in_attributes(page):
    for tag, attrs in page[1].tags:
        assert not any(name.startswith("on") for name in attrs), tag
        assert not urlsplit(attrs.get("src", "")).netloc
        assert tag not in ("object", "embed", "iframe", "base", "form")
        if tag == "link":
            assert attrs["href"] == "data:,"


def test_tables_have_headings_with_a_scope(page):
    headings = list(page[1].all("th"))
    assert headings
    assert all(attrs.get("scope") in ("row", "col") for attrs in headings)


def test_the_page_has_its_language_landmarks_and_a_way_past_the_contents(page):
    reader = page[1]
    assert next(reader.all("html"))["lang"] == "en"
    assert [tag for tag, _ in reader.tags if tag in ("nav", "main")] == ["nav", "main"]
    assert next(reader.all("a"))["href"] == f"#{next(reader.all('main'))['id']}"
    assert next(reader.all("nav"))["aria-label"]


def test_the_only_script_is_allowed_by_its_hash_and_the_policy_comes_first(page):
    text = page[0].read_text(encoding="utf-8")
    assert text.count("<script") == 1
    policy = next(a for a in page[1].all("meta") if a.get("http-equiv"))["content"]
    assert policy.count("sha256-") == 1
    assert text.index("Content-Security-Policy") < text.index("<style")


def test_the_summary_leads_to_the_errors_the_verdicts_and_the_stages(page):
    text = page[0].read_text(encoding="utf-8")
    summary = text.split('<section id="Summary"')[1].split("</section>")[0]
    assert OVERVIEW_MARK not in summary
    assert '<span class="light light-poor">failed</span>' in summary
    assert '<a href="#Errors">' in summary
    rows = re.findall(r'<tr><th scope="row">[^<]*</th><td><a href="#([^"]*)"', summary)
    assert rows == [a["id"] for a in page[1].all("div") if "desc-judgement" in a.get("id", "")]
    assert summary.count(">Fibre orientations</a>") == len(rows)


def test_a_summary_of_an_earlier_version_gets_its_lights_too(tmp_path):
    for what in ("summary", "judgement"):
        file = tmp_path / figure_path({"sub": "01"}, what, ".html")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            judgement_fragment(judge({"mean_fd": 0.1})) if what != "summary" else "<p/>"
        )
    text = assemble_report(tmp_path, "01", "run").read_text(encoding="utf-8")
    summary = text.split('<section id="Summary"')[1].split("</section>")[0]
    assert 'light-good">good</span>' in summary
