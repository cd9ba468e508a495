"""Whatever a dataset says, a page shows it as text: no tag, attribute or script comes of it."""

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest

from shd_bids.bids.files import write_text
from shd_bids.bids.study import read_study
from shd_bids.reports.fragments import (
    alert,
    configuration_block,
    data_table,
    fact_table,
    fold,
    note,
    state_line,
)
from shd_bids.reports.html import assemble_report, figure_path
from shd_bids.reports.methods import write_citation
from shd_bids.reports.study.page import StudyNetwork, write_study_report
from shd_bids.reports.stylesheet import data_text
from shd_bids.testing.study import write_study

HARMLESS = "a name of no harm"
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "' onmouseover='alert(1)",
    'https://x"onmouseover="alert(1)//y',
    "</pre></details></td></table><svg onload=alert(1)>",
    "</script><script>alert(1)</script>",
    "[words](javascript:alert(1))",
    "<!-- policy --><!-- overview -->",
    "{{ 7 * 191 }}{% raw %}",
    "`<b>`*<i>*",
)


class _Skeleton(HTMLParser):
    """The tags of a page with the names of their attributes, its addresses and its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.addresses: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script":
            self.scripts.append(data)


def _assert_harmless(page: str) -> None:
    skeleton = _Skeleton(page)
    names = {name for _, attributes in skeleton.tags for name in attributes}
    assert not {name for name in names if name.startswith("on")}
    assert not [one for one in skeleton.addresses if one.lower().startswith("javascript")]
    assert "x" not in skeleton.addresses
    assert not [script for script in skeleton.scripts if "alert(1)" in script.replace('"', "")]


def _participant_page(root: Path, said: str) -> str:
    fragments = {
        "summary": state_line([said]) + data_table([said, "b"], [[said, 1.0]]),
        "about": fact_table({said: said, "a": [said, said]}),
        "timings": fold(said, note(said)) + alert(said, "warning"),
        "configuration": configuration_block(f'bids_dir = "{said}"'),
    }
    for what, html in fragments.items():
        write_text(root / figure_path({"sub": "01"}, what, ".html"), html)
    crash = f"Node: graph.{said.replace(' ', '.')}\n\nTraceback:\n  File 'x'\nImageError: {said}\n"
    write_text(root / "sub-01/log/run/crash-1.txt", crash)
    return assemble_report(root, "01", "run", methods=f"Data of {said} [@csd].").read_text()


def _study_page(root: Path, said: str) -> str:
    output_dir = write_study(root, 12)
    for file in output_dir.glob("sub-*/log/*/crash-*.txt"):
        file.write_text(f"Node: {said}\n\nTraceback:\n  File 'x'\nImageError: {said}\n")
    return write_study_report(
        output_dir,
        read_study(output_dir),
        networks=[StudyNetwork(said, {"sub-0001": 0.5}, [0, 10], [1, 0.5], {said: said})],
        messages=[said],
        methods=f"Data of {said} [@csd].",
        facts={"Command": said, said: "x"},
    ).read_text()


def _citation(root: Path, said: str) -> str:
    write_citation(f"Data of {said} [@csd].", root)
    return (root / "CITATION.html").read_text()


@pytest.fixture(scope="module")
def harmless_pages(tmp_path_factory) -> dict[str, Sequence]:
    makers = (_participant_page, _study_page, _citation)
    return {
        make.__name__: _Skeleton(make(tmp_path_factory.mktemp("harmless"), HARMLESS)).tags
        for make in makers
    }


def _same_but_for_links(tags: Sequence, others: Sequence) -> bool:
    """Compare skeletons; an address, emphasis or code in a methods text may become a tag."""
    told = ("a", "code", "em", "strong")
    return [one for one in tags if one[0] not in told] == [
        one for one in others if one[0] not in told
    ]


@pytest.mark.parametrize("said", HOSTILE)
def test_a_methods_text_has_the_same_tags_whatever_is_said_in_it(said, tmp_path, harmless_pages):
    page = _citation(tmp_path, said)
    _assert_harmless(page)
    assert _same_but_for_links(_Skeleton(page).tags, harmless_pages["_citation"])


@pytest.mark.parametrize("said", [" ".join(HOSTILE[::2]), " ".join(HOSTILE[1::2])])
def test_a_page_has_the_same_tags_whatever_is_said_in_it(said, tmp_path, harmless_pages):
    page = _participant_page(tmp_path, said)
    _assert_harmless(page)
    assert _same_but_for_links(_Skeleton(page).tags, harmless_pages["_participant_page"])
    assert "1337" not in page  # what 7 * 191 would be, had a template run it


def test_the_page_of_a_study_has_the_same_tags_whatever_is_said_in_it(tmp_path, harmless_pages):
    page = _study_page(tmp_path, " ".join(HOSTILE))
    _assert_harmless(page)
    assert _same_but_for_links(_Skeleton(page).tags, harmless_pages["_study_page"])


@pytest.mark.parametrize("make", [_participant_page, _study_page, _citation])
def test_each_page_has_a_policy_ahead_of_all_else(make, tmp_path):
    head, _, rest = make(tmp_path, HARMLESS).partition("Content-Security-Policy")
    assert rest
    assert _Skeleton(head).tags[-1][0] == "meta"
    assert not {"script", "style", "img", "link"} & {tag for tag, _ in _Skeleton(head).tags}


def test_a_page_made_of_an_unsafe_fragment_would_be_seen():
    with pytest.raises(AssertionError):
        _assert_harmless(f"<p>{HOSTILE[0]}</p>")
    with pytest.raises(AssertionError):
        _assert_harmless('<p><a href="https://x"onmouseover="alert(1)//y">y</a></p>')


@pytest.mark.parametrize("script", ["report.js", "study.js", "viewer.js"])
def test_scripts_put_what_they_read_into_the_page_as_text(script):
    text = data_text(script)
    for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert unsafe not in text
