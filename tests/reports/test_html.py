"""The page: complete, in order, escaped, and at home without a network."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from shd_bids.reports.html import assemble_report, figure_path, find_series

SECTIONS = [
    "Summary", "Diffusion data", "Preprocessing", "Response", "Fibre orientations",
    "Tractography", "About", "Methods", "Errors",
]  # fmt: skip
ONE_OF_EACH = ["gradients", "mask", "response", "fodf", "tracts"]
METHODS = "Fibres were found by SHD-TV [@shdtv], *unlike* [@csd]. Signals < 0 were clipped."
CRASH = """Node: sub_01_wf.shdtv_wf.fit
Working directory: /w/sub_01_wf

Node inputs:

dwi_file = <undefined>
a line of its own

Traceback (most recent call last):
  File "fit.py", line 3, in <module>
shd_bids.errors.DeviceError: The card has 4 GB, the fit needs <9> GB.
"""


class Loads(HTMLParser):
    """Collects what a browser fetches when it opens a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the address that this tag makes a browser fetch."""
        fetched = {"img": "src", "script": "src", "object": "data", "link": "href", "iframe": "src"}
        self.found += [value or "" for name, value in attrs if fetched.get(tag) == name]


def put_figure(root: Path, entities: dict[str, str], what: str, extension: str = ".png") -> None:
    file = root / figure_path(entities, what, extension)
    file.parent.mkdir(parents=True, exist_ok=True)
    if extension == ".html":
        file.write_text(f"<p>{what} of {'-'.join(entities.values())}</p>")
        return
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot(np.arange(3))
    figure.savefig(file)


@pytest.fixture
def output_dir(tmp_path: Path) -> Path:
    root = tmp_path / "it's an <output>"
    for what in ONE_OF_EACH:
        put_figure(root, {"sub": "01"}, what)
    put_figure(root, {"sub": "01"}, "denoising", ".svg")
    for what in ("summary", "shells", "about", "configuration"):
        put_figure(root, {"sub": "01"}, what, ".html")
    put_figure(root, {"sub": "02"}, "mask")
    return root


def headings(page: str) -> list[str]:
    return re.findall(r"<h2[^>]*>(.*?)</h2>", page)


def test_the_page_holds_every_section_in_order(output_dir):
    page = assemble_report(output_dir, "01", "run", methods=METHODS).read_text(encoding="utf-8")
    assert headings(page) == SECTIONS
    assert all(f'href="#{name.replace(" ", "-")}"' in page for name in SECTIONS)
    assert all(f"desc-{what}_dwi.png" in page for what in ONE_OF_EACH)
    assert "sub-02" not in page


def test_a_section_without_figures_does_not_appear(output_dir):
    page = assemble_report(output_dir, "02", "run").read_text(encoding="utf-8")
    assert headings(page) == ["Preprocessing", "Errors"]


def test_a_participant_of_whom_nothing_was_computed_has_a_page_of_errors(tmp_path):
    log_dir = tmp_path / "sub-01" / "log" / "run"
    log_dir.mkdir(parents=True)
    (log_dir / "crash-1.txt").write_text(CRASH)
    page = assemble_report(tmp_path, "01", "run").read_text(encoding="utf-8")
    assert headings(page) == ["Errors"]
    assert "The card has 4 GB, the fit needs &lt;9&gt; GB." in page
    assert "sub_01_wf.shdtv_wf.fit" in page
    assert "<undefined>" not in page


def test_crashes_of_another_run_are_forgotten(output_dir):
    log_dir = output_dir / "sub-01" / "log" / "first"
    log_dir.mkdir(parents=True)
    (log_dir / "crash-1.txt").write_text(CRASH)
    assert "1 step failed" in assemble_report(output_dir, "01", "first").read_text(encoding="utf-8")
    second = assemble_report(output_dir, "01", "second").read_text(encoding="utf-8")
    assert "No errors to report" in second
    assert "failed" not in second


def test_opening_the_page_fetches_nothing_from_a_network(output_dir):
    page_file = assemble_report(output_dir, "01", "run", methods=METHODS)
    loads = Loads()
    loads.feed(page_file.read_text(encoding="utf-8"))
    assert not [address for address in loads.found if "//" in address]
    assert "@import" not in page_file.read_text(encoding="utf-8")


def test_every_picture_of_the_page_exists_beside_it(output_dir):
    page_file = assemble_report(output_dir, "01", "run")
    loads = Loads()
    loads.feed(page_file.read_text(encoding="utf-8"))
    pictures = [address for address in loads.found if not address.startswith("data:")]
    assert len(pictures) == len(ONE_OF_EACH) + 1
    assert all((page_file.parent / address).is_file() for address in pictures)


def test_sessions_appear_in_order_each_under_its_name(tmp_path):
    for session in ("retest", "baseline"):
        put_figure(tmp_path, {"sub": "01", "ses": session}, "mask")
        put_figure(tmp_path, {"sub": "01", "ses": session}, "shells", ".html")
    put_figure(tmp_path, {"sub": "01"}, "summary", ".html")
    page = assemble_report(tmp_path, "01", "run").read_text(encoding="utf-8")
    assert headings(page) == ["Summary", "Diffusion data", "Preprocessing", "Errors"]
    titles = re.findall(r"<h3[^>]*>(.*?)</h3>", page)
    assert titles == ["session baseline", "session retest"] * 2
    names = re.findall(r'<img[^>]*src="[^"]*/(.*?)"', page)
    assert names == ["sub-01_ses-baseline_desc-mask_dwi.png", "sub-01_ses-retest_desc-mask_dwi.png"]


def test_a_series_without_acquisition_is_not_lost_beside_one_with_it(tmp_path):
    put_figure(tmp_path, {"sub": "01"}, "mask")
    put_figure(tmp_path, {"sub": "01", "acq": "hi", "run": "02"}, "mask")
    page = assemble_report(tmp_path, "01", "run").read_text(encoding="utf-8")
    names = re.findall(r'<img[^>]*src="[^"]*/(.*?)"', page)
    assert names == ["sub-01_desc-mask_dwi.png", "sub-01_acq-hi_run-02_desc-mask_dwi.png"]


def test_series_are_read_from_the_names_of_the_figures(tmp_path):
    put_figure(tmp_path, {"sub": "01"}, "summary", ".html")
    put_figure(tmp_path, {"sub": "01", "ses": "b", "acq": "x"}, "mask")
    assert find_series(tmp_path / "sub-01" / "figures") == [(), (("ses", "b"), ("acq", "x"))]


def test_assembling_twice_gives_the_same_page(output_dir):
    first = assemble_report(output_dir, "01", "run", methods=METHODS).read_text(encoding="utf-8")
    second = assemble_report(output_dir, "01", "run", methods=METHODS).read_text(encoding="utf-8")
    assert first == second
