"""Ways through the page: the contents at its side and the overview at its top."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .judgements import tally


@dataclass(frozen=True)
class Entry:
    """One reportlet as the contents know it.

    Attributes
    ----------
    anchor
        Identifier in the page.
    title
        Its heading; empty for what stands right below the heading of its section.
    series
        Its name among several; empty where there is one, ``None`` for what concerns the
        participant.
    """

    anchor: str
    title: str
    series: str | None


@dataclass(frozen=True)
class Section:
    """One section of the page with its reportlets, in order."""

    name: str
    entries: tuple[Entry, ...]

    @property
    def anchor(self) -> str:
        """Identifier in the page.

        Examples
        --------
        >>> Section("Diffusion data", ()).anchor
        'Diffusion-data'
        """
        return self.name.replace(" ", "-")

    @property
    def series(self) -> list[str | None]:
        """Names of the series in the order of the page."""
        return list(dict.fromkeys(entry.series for entry in self.entries))


def contents(title: str, sections: Sequence[Section]) -> str:
    """List the sections and what they hold; several series of a section are folded.

    Parameters
    ----------
    title
        Of the page, as HTML.
    sections
        In the order of the page.

    Returns
    -------
    str
        A ``<nav>``.
    """
    items = [
        f"<li>{_link(section.anchor, section.name)}{_list_entries(section)}</li>"
        for section in sections
    ]
    return "\n".join(
        [
            '<nav class="contents" aria-label="Contents">',
            f"<strong>{title}</strong>",
            "<ul>",
            *items,
            "</ul>",
            "</nav>",
        ]
    )


def overview(
    participant: str, sections: Sequence[Section], judged: Sequence[tuple[str, str, str]]
) -> str:
    """Show a traffic light for each series and the way to each of its stages.

    Parameters
    ----------
    participant
        Stands for the name of an only series.
    sections
        In the order of the page.
    judged
        Name of each series, anchor and HTML of its judgement; empty where none was made.

    Returns
    -------
    str
        A ``<table>``; empty without series.
    """
    rows = []
    for name, anchor, fragment in judged:
        light = "<td>not judged</td>"
        if anchor:
            worst, words = tally(fragment)
            sign = f'<span class="light light-{worst.name.lower()}">{worst}</span>'
            light = f'<td><a href="#{anchor}">{sign}</a> {escape(words)}</td>'
        stages = "\n".join(
            _link(first[0].anchor, section.name)
            for section in sections
            if (first := [entry for entry in section.entries if entry.series == name])
        )
        label = escape(name or participant)
        rows.append(f'<tr><th scope="row">{label}</th>{light}<td>{stages}</td></tr>')
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("series", "quality", "stages"))
    return "\n".join(
        [
            '<table class="data overview">',
            f"<thead><tr>{head}</tr></thead>",
            "<tbody>",
            *rows,
            "</tbody></table>",
        ]
    )


def _list_entries(section: Section) -> str:
    groups = []
    for series in section.series:
        found = [entry for entry in section.entries if entry.series == series]
        listed = [f"<li>{_link(one.anchor, one.title)}</li>" for one in found if one.title]
        if not series:
            groups += listed
        elif not listed:
            groups.append(f"<li>{_link(found[0].anchor, series)}</li>")
        else:
            inner = "\n".join(listed)
            groups.append(
                f"<li><details><summary>{escape(series)}</summary>\n"
                f"<ul>\n{inner}\n</ul></details></li>"
            )
    return "\n<ul>\n{}\n</ul>".format("\n".join(groups)) if groups else ""


def _link(anchor: str, text: str) -> str:
    return f'<a href="#{anchor}">{escape(text)}</a>'
