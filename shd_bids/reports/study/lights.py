"""Traffic lights of a study: how many series are good, by each measure that has limits."""

from collections import Counter
from collections.abc import Sequence
from html import escape

from shd_bids.dwi.judgement import Verdict
from shd_bids.reports.fragments import note

from .frame import scroll_box
from .meanings import describe, limit_of
from .measures import SeriesRow
from .measures_table import light

_LIMITS = (
    "Between good and poor, a measure asks for a look. The limits are conventions of shd-bids, "
    "the same as on the participants' pages; they mark a series and change nothing."
)


def lights_section(rows: Sequence[SeriesRow]) -> str:
    """Write a bar and the counts for each measure.

    Parameters
    ----------
    rows
        Of the study, at least one.

    Returns
    -------
    str
        HTML.
    """
    order = (Verdict.GOOD, Verdict.LOOK, Verdict.POOR, Verdict.NONE)
    counts: dict[str, Counter[Verdict]] = {}
    for row in rows:
        for one in row.judgements:
            counts.setdefault(one.name, Counter())[one.verdict] += 1
    body = []
    for name, found in counts.items():
        if set(found) == {Verdict.NONE}:
            continue
        found[Verdict.NONE] = len(rows) - sum(found[verdict] for verdict in order[:3])
        x, bars = 0.0, []
        for verdict in order:
            width = 200 * found[verdict] / len(rows)
            if width:
                kind = verdict.name.lower()
                bars.append(
                    f'<rect class="bar-{kind}" x="{x:.2f}" y="0" width="{width:.2f}" height="14"/>'
                )
            x += width
        limit = limit_of(name)
        warning = f" {limit.warning}" if limit and found[Verdict.POOR] else ""
        cells = "".join(f'<td class="number">{found[verdict]}</td>' for verdict in order)
        body.append(
            f"<tr><td>{escape(describe(name)[0])}<br/><small>{escape(warning)}</small></td>"
            f'<td class="bar"><svg class="light-bar" viewBox="0 0 200 14" '
            f'preserveAspectRatio="none" aria-hidden="true">{"".join(bars)}</svg></td>{cells}</tr>'
        )
    heads = "".join(f'<th class="number">{light(verdict)}</th>' for verdict in order)
    table = (
        f'<table class="data"><thead><tr><th>measure</th><th>series</th>{heads}</tr></thead>\n'
        f"<tbody>{''.join(body)}</tbody></table>"
    )
    return f"{scroll_box(table)}\n{note(_LIMITS)}"
