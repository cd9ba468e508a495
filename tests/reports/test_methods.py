"""The methods text and its references."""

import re

import pytest

from shd_bids.reports.bibliography import read_bibliography
from shd_bids.reports.methods import (
    bibliography,
    bibtex_text,
    cited_keys,
    html_text,
    markdown_text,
    methods_fragment,
    write_citation,
)

TEXT = """
Noise was removed as by @mppca with DIPY [@dipy].

fODFs came from SHD-TV [@shdtv; @csd]; voxels with S < 0 & "odd" ones were clipped, see `fit`.
"""


def test_citations_become_names_and_years():
    text = markdown_text(TEXT)
    assert "as by Veraart et al. (2016) with DIPY (Garyfallidis et al., 2014)." in text
    assert "(Elaldi et al., 2024; Tournier et al., 2007)" in text
    assert "@" not in text


def test_works_that_would_be_cited_alike_get_letters_by_their_titles():
    text = "Weights [@sift2] and ends [@sift_connectome]; maps [@afd] as by @sift2."
    written = markdown_text(text)
    assert "Weights (Smith et al., 2015a) and ends (Smith et al., 2015b)" in written
    assert "as by Smith et al. (2015a)." in written
    assert "maps (Raffelt et al., 2012)" in written
    assert "Connelly, Alan (2015a). SIFT2: enabling" in written
    assert "Connelly, Alan (2015b). The effects of SIFT" in written
    assert "(Smith et al., 2015)" in markdown_text("Weights [@sift2].")


def test_every_citation_of_the_html_leads_to_its_reference():
    html = html_text(TEXT)
    targets = set(re.findall(r'href="#(.*?)"', html))
    assert targets == {"ref-mppca", "ref-dipy", "ref-shdtv", "ref-csd"}
    assert targets == set(re.findall(r'id="(.*?)"', html))
    assert '(<a href="#ref-shdtv">Elaldi et al., 2024</a>; <a href="#ref-csd">' in html


def test_only_what_is_cited_is_listed():
    assert cited_keys(TEXT) == ["mppca", "dipy", "shdtv", "csd"]
    assert len(re.findall(r"^- ", markdown_text(TEXT), re.MULTILINE)) == 4
    assert bibtex_text(TEXT).count("@") == 4
    assert "References" not in markdown_text("Nothing is cited.")


def test_an_unknown_key_or_an_address_stays_readable():
    text = markdown_text("See [@nobody2020] or mail a@b.org.")
    assert "(nobody2020)" in text
    assert "a@b.org" in text


def test_the_html_is_escaped_and_links_to_the_works():
    html = html_text(TEXT)
    assert "S &lt; 0 &amp;" in html
    assert "<code>fit</code>" in html
    assert '<a href="https://doi.org/10.1016/j.neuroimage.2016.08.016">' in html
    assert '<a href="https://arxiv.org/abs/2411.11819">' in html


@pytest.mark.parametrize("key", bibliography())
def test_every_reference_is_complete(key):
    reference = bibliography()[key]
    assert {"author", "title", "year"} <= set(reference.fields)
    assert reference.fields.keys() & {"journal", "booktitle", "school"}
    assert re.fullmatch(r"(19|20)\d\d", reference.fields["year"])
    assert "{" not in reference.markdown
    assert reference.markdown.isprintable()


def test_works_that_the_program_rests_on_can_be_cited():
    expected = {
        "shdtv", "rtesd", "esd", "csd", "msmtcsd", "rumba", "dhollander2016", "dhollander2019",
        "mppca", "dipy", "nipype", "bids", "bidsapps", "deepsphere", "healpix", "afd", "dec",
        "nufo", "gfa", "girard2014", "otsu",
    }  # fmt: skip
    assert expected <= set(bibliography())


def test_the_citation_files_are_written_together(tmp_path):
    write_citation(TEXT, tmp_path / "logs")
    names = sorted(file.name for file in (tmp_path / "logs").iterdir())
    assert names == ["CITATION.bib", "CITATION.html", "CITATION.md"]
    page = (tmp_path / "logs" / "CITATION.html").read_text(encoding="utf-8")
    assert '<html lang="en">' in page
    assert "<title>shd-bids: Methods and works to cite</title>" in page
    assert all((tmp_path / "logs" / name).is_file() for name in re.findall(r'"(CIT.*?)"', page))
    assert "{" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    markdown = (tmp_path / "logs" / "CITATION.md").read_text(encoding="utf-8")
    assert markdown.startswith("# Methods and works to cite\n")


def test_the_bibtex_can_be_read_again():
    cited = read_bibliography(bibtex_text(TEXT))
    assert list(cited) == cited_keys(TEXT)
    text = bibtex_text(" ".join(f"@{key}" for key in bibliography()))
    assert text.count("{") == text.count("}")
    assert len(read_bibliography(text)) == len(re.findall(r"^@\w+\{", text, re.MULTILINE))


def test_the_fragment_can_be_copied_without_a_program():
    html = methods_fragment(TEXT)
    assert html.count('<pre class="copy">') == 2
    assert "<script" not in html
    assert "@article{csd," in html
