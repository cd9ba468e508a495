"""Pieces of HTML for the page: tables, facts, settings. All text is escaped here."""

import re
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from jaxtyping import Float, Int


def fact_table(facts: Mapping[str, object]) -> str:
    r"""Write names and values as a table of two columns.

    Parameters
    ----------
    facts
        By name (underscores become spaces); numbers are shortened, a sequence is joined by commas.

    Returns
    -------
    str
        A ``<table>``.

    Examples
    --------
    >>> fact_table({"Models": ["SHD-TV", "CSD"]})
    '<table class="facts">\n<tr><th scope="row">Models</th><td>SHD-TV, CSD</td></tr>\n</table>'
    """
    rows = [
        f'<tr><th scope="row">{escape(name.replace("_", " "))}</th>'
        f"<td>{_running_text(_say(value))}</td></tr>"
        for name, value in facts.items()
    ]
    return "\n".join(['<table class="facts">', *rows, "</table>"])


def data_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write a table with a head; numbers stand to the right, and so do their headings.

    Parameters
    ----------
    columns
        Headings.
    rows
        One value per heading.

    Returns
    -------
    str
        A ``<table>``.
    """
    first = rows[0] if rows else [""] * len(columns)
    head = "".join(
        f'<th scope="col"{_kind(value)}>{escape(name)}</th>'
        for name, value in zip(columns, first, strict=True)
    )
    body = [f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows]
    return "\n".join(
        [
            '<table class="data">',
            f"<thead><tr>{head}</tr></thead>",
            "<tbody>",
            *body,
            "</tbody></table>",
        ]
    )


def shells_table(
    shell_bvals: Float[np.ndarray, " shell"], counts: Int[np.ndarray, " shell"]
) -> str:
    """List the shells: b-value, number of volumes and what they are good for.

    Parameters
    ----------
    shell_bvals
        Ascending, b=0 first, s/mm².
    counts
        Volumes of each shell.

    Returns
    -------
    str
        A ``<table>``.

    Examples
    --------
    >>> "up to degree 8" in shells_table(np.array([0.0, 3000.0]), np.array([6, 64]))
    True
    """
    rows: list[list[object]] = []
    for bval, count in zip(shell_bvals.tolist(), counts.tolist(), strict=True):
        role = "reference signal"
        if bval > 0:
            role = f"directions: spherical harmonics up to degree {_highest_degree(int(count))}"
        rows.append([round(bval), int(count), role])
    return data_table(["b-value (s/mm²)", "volumes", "used as"], rows)


def configuration_block(toml: str) -> str:
    """Show the settings of the run, as they can be given back with ``--config-file``.

    Parameters
    ----------
    toml
        The resolved configuration.

    Returns
    -------
    str
        A folded ``<details>``.
    """
    return fold("Show the resolved configuration (TOML)", f"<pre>{escape(toml)}</pre>")


def fold(title: str, html: str) -> str:
    r"""Put what is long under a title that opens it.

    Parameters
    ----------
    title
        Plain text.
    html
        What is shown when it is opened.

    Returns
    -------
    str
        A ``<details>``.

    Examples
    --------
    >>> fold("b < 100", "<p>Yes.</p>")
    '<details><summary>b &lt; 100</summary>\n<p>Yes.</p></details>'
    """
    return f"<details><summary>{escape(title)}</summary>\n{html}</details>"


def state_line(messages: Sequence[str]) -> str:
    """Say whether a participant was finished, with what went wrong and the way to it.

    Examples
    --------
    >>> state_line([])
    '<p class="state"><span class="light light-good">finished</span> All steps ended well.</p>'
    """
    light, words = "good", "All steps ended well."
    if messages:
        light = "poor"
        words = f'{"<br>".join(map(_running_text, messages))} <a href="#Errors">See the errors</a>'
    state = "failed" if messages else "finished"
    return f'<p class="state"><span class="light light-{light}">{state}</span> {words}</p>'


def _running_text(text: str) -> str:
    """Escape text, and keep browsers from breaking lines behind the dashes of a flag.

    Examples
    --------
    >>> _running_text("a < --mem 8")
    'a &lt; <span class="flag">--mem</span> 8'
    """
    return re.sub(
        r"(?<![\w-])--[a-z0-9][a-z0-9-]*", r'<span class="flag">\g<0></span>', escape(text)
    )


def wrap_tables(html: str) -> str:
    """Give each table a box of its own to be scrolled in, where a window is narrow."""
    opened = re.sub(r"(<table\b)", r'<div class="scroll">\1', html)
    return opened.replace("</table>", "</table></div>")


def fit_headings(html: str, above: int) -> str:
    """Move the headings of a fragment to the level below the one that it stands under.

    Examples
    --------
    >>> fit_headings("<h4>References</h4>", above=2)
    '<h3>References</h3>'
    """
    levels = [int(level) for level in re.findall(r"<h([1-6])\b", html)]
    if not levels:
        return html
    shift = above + 1 - min(levels)
    return re.sub(
        r"(</?h)([1-6])\b", lambda found: f"{found[1]}{min(int(found[2]) + shift, 6)}", html
    )


def note(text: str) -> str:
    """Write one paragraph of plain text.

    Examples
    --------
    >>> note("b < 100 counts as b=0")
    '<p>b &lt; 100 counts as b=0</p>'
    """
    return f"<p>{escape(text)}</p>"


def alert(text: str, kind: str) -> str:
    """Write one paragraph of plain text that is seen at once.

    Parameters
    ----------
    text
        A sentence or two.
    kind
        ``success``, ``warning`` or ``danger``.

    Returns
    -------
    str
        A coloured ``<p>``.

    Examples
    --------
    >>> alert("b < 100", "danger")
    '<p class="alert alert-danger">b &lt; 100</p>'
    """
    return f'<p class="alert alert-{kind}">{escape(text)}</p>'


def duration(seconds: float) -> str:
    """Say a time in the units that a reader would use.

    Examples
    --------
    >>> duration(3.21), duration(75.0), duration(4000.0)
    ('3.2 s', '1 min 15 s', '1 h 6 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _highest_degree(n_direction: int) -> int:
    """Even degree whose coefficients are no more than the directions."""
    degree = 0
    while (degree + 3) * (degree + 4) // 2 <= n_direction:
        degree += 2
    return degree


def _cell(value: object) -> str:
    return f"<td{_kind(value)}>{escape(_say(value))}</td>"


def _kind(value: object) -> str:
    return ' class="number"' if isinstance(value, int | float) else ""


def _say(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return f"{float(value):.4g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_say(item) for item in value)
    return str(value)
