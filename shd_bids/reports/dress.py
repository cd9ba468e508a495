"""The draft of nireports, dressed: described pictures, and ways through the page."""

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from nireports.assembler.report import Report

from .fragments import fit_headings, wrap_tables
from .navigation import Entry, Section, contents, overview
from .pictures import picture, picture_href
from .policy import POLICY_MARK

#: Where the summary leaves room for the traffic lights of the series.
OVERVIEW_MARK = "<!-- overview -->"


def dress(report: Report, spec: dict[str, Any], output_dir: Path) -> None:
    """Describe the pictures, fit the fragments in, and lay ways through the page.

    Parameters
    ----------
    report
        As indexed; its parts are changed.
    spec
        That it was made of. Each reportlet says to which ``series`` it belongs: its name among
        several, empty where there is one, ``None`` for what concerns the participant.
    output_dir
        Folder of the page.
    """
    placed = {one["name"]: one for section in spec["sections"] for one in section["reportlets"]}
    sections = []
    for section in report.sections:
        above = 3 if any(reportlet.title for reportlet in section.reportlets) else 2
        for reportlet in section.reportlets:
            reportlet.components = [
                (_fit_in(content, placed[reportlet.name], output_dir, above), caption)
                for content, caption in reportlet.components
            ]
        entries = (
            Entry(one.name, one.subtitle or "", placed[one.name]["series"])
            for one in section.reportlets
        )
        sections.append(Section(section.name, tuple(entries)))
    for reportlet in (one for section in report.sections for one in section.reportlets):
        if placed[reportlet.name]["bids"]["desc"] == "summary":
            lights = wrap_tables(overview(spec["participant"], sections, _judged(sections, report)))
            (content, caption), *others = reportlet.components
            if OVERVIEW_MARK not in content:
                content = f"{OVERVIEW_MARK}\n{content}"
            reportlet.components = [(content.replace(OVERVIEW_MARK, lights), caption), *others]
    style, script = ((files("shd_bids.data") / f"report.{kind}") for kind in ("css", "js"))
    report.navbar = [contents(report.title, sections)]
    report.footer = [f"<script>\n{script.read_text(encoding='utf-8')}</script>"]
    report.header = [
        POLICY_MARK,
        f"<style>\n{style.read_text(encoding='utf-8')}</style>",
    ]


def _fit_in(content: str, reportlet: dict[str, Any], output_dir: Path, above: int) -> str:
    """Make a described picture of a figure; move the headings of a fragment to their level."""
    href = picture_href(content)
    if href is None:
        heading = above + 1 if reportlet.get("subtitle") else above
        return wrap_tables(fit_headings(content, heading))
    title = reportlet.get("subtitle", reportlet["bids"]["desc"])
    described = reportlet.get("description", "")
    of_series = f", {reportlet['series']}" if reportlet["series"] else ""
    return picture(
        href,
        root=output_dir,
        anchor=reportlet["name"],
        title=f"{title}{of_series}",
        alt=" ".join(filter(None, [f"{title}{of_series}.", _first_sentence(described)])),
        described_by=f"{reportlet['name']}-about" if described else "",
        max_width=reportlet.get("style", {}).get("max-width", "100%"),
    )


def _judged(sections: Sequence[Section], report: Report) -> list[tuple[str, str, str]]:
    """List each series with anchor and HTML of its judgement, if there is one."""
    fragments = {
        one.name: one.components[0][0]
        for section in report.sections
        for one in section.reportlets
        if one.name.endswith("_desc-judgement")
    }
    anchors: dict[str, str] = {}
    for entry in (one for section in sections for one in section.entries):
        if entry.series is not None:
            anchors.setdefault(entry.series, "")
            if entry.anchor in fragments:
                anchors[entry.series] = entry.anchor
    return [(name, anchor, fragments.get(anchor, "")) for name, anchor in sorted(anchors.items())]


def _first_sentence(text: str) -> str:
    """Take as much of a description as one listens to before a picture.

    Examples
    --------
    >>> _first_sentence("Contour of the mask (b=0). The left is on the left.")
    'Contour of the mask (b=0).'
    """
    found = re.match(r".*?\.(?=\s|$)", text, re.DOTALL)
    return found[0] if found else text
