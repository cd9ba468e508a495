"""Figures on the page: described, to be enlarged, and both states of a flicker to be seen."""

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from shd_bids.reports.figures.flicker import is_flicker, write_flicker
from shd_bids.reports.pictures import picture, picture_href

SAID = {"anchor": "sub-01_desc-mask", "title": "Brain mask", "alt": 'Outline of "A < B".'}


def page(value: float) -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().imshow(np.full((2, 2), value))
    return figure


@pytest.mark.parametrize(
    "snippet",
    [
        '<div class="reportlet">\n<img class="png-reportlet" src="./sub-01/f.png" style="" />',
        '<div class="reportlet">\n<object class="svg-reportlet" type="image/svg+xml" '
        'data="./sub-01/f.png" style="">',
    ],
)
def test_the_file_is_found_in_what_nireports_writes(snippet):
    assert picture_href(snippet) == "sub-01/f.png"


def test_a_fragment_is_no_picture():
    assert picture_href('<p>See <img src="./x.png"/></p>') is None


def test_a_picture_is_described_sized_and_leads_to_its_full_size_and_its_file(tmp_path):
    page(0).savefig(tmp_path / "f.png", dpi=100)
    html = picture("f.png", root=tmp_path, described_by="about", **SAID)
    (image,) = re.findall(r"<img[^>]*>", html)
    assert 'alt="Outline of &quot;A &lt; B&quot;."' in image
    assert 'width="200" height="100"' in image
    assert 'aria-describedby="about"' in image
    assert 'id="sub-01_desc-mask-picture"' in html
    assert 'href="#sub-01_desc-mask-picture"' in html
    assert 'aria-label="Enlarge: Brain mask"' in html
    assert '<a href="f.png">' in html


def test_a_drawing_has_the_size_of_its_view_box(tmp_path):
    (tmp_path / "f.svg").write_text('<svg viewBox="0 0 864.5 331.2"></svg>')
    html = picture("f.svg", root=tmp_path, **SAID)
    assert re.search(r'width="86[45]" height="331"', html)
    assert "fieldset" not in html


def test_a_damaged_figure_does_not_cost_the_page(tmp_path):
    (tmp_path / "f.png").write_bytes(b"")
    assert 'src="f.png"' in picture("f.png", root=tmp_path, **SAID)


def test_both_states_of_a_flicker_can_be_chosen_without_a_pointer(tmp_path):
    file = write_flicker(page(0), page(1), tmp_path / "f.svg", title="Denoising")
    assert is_flicker(file)
    html = picture("f.svg", root=tmp_path, **SAID)
    assert re.findall(r'<img[^>]* src="([^"]*)"', html) == ["f.svg", "f.svg#after"]
    assert len(set(re.findall(r'alt="([^"]*)"', html))) == 2
    assert len(re.findall(r'<input type="radio"', html)) == 3
    assert 'id="after"' in file.read_text()
    assert ".after:target { opacity: 1; }" in file.read_text()
