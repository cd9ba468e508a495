"""The table of all series on the study's page."""

from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import quote

from shd_bids.dwi.judgement import Verdict

from .meanings import GROUPS, WORDS, describe, group_of, limit_of, say_limit
from .measures import SeriesRow, measure_names
from .outliers import Outlier
from .svg import number

_RANKS = {Verdict.POOR: 0, Verdict.LOOK: 1, Verdict.GOOD: 2, Verdict.NONE: 3}
_FLAGS = {Verdict.POOR: "p", Verdict.LOOK: "l"}


def measures_table(rows: Sequence[SeriesRow], outliers: Sequence[Outlier]) -> tuple[str, str]:
    """Write one row for each series, groups of columns hidden until they are chosen.

    Parameters
    ----------
    rows
        Of the study.
    outliers
        Whose values are marked.

    Returns
    -------
    html
        Tools and table.
    style
        What hides the columns: it needs no script.
    """
    names = sorted(measure_names(rows), key=lambda name: GROUPS.index(group_of(name)))
    numbers = {name: GROUPS.index(group_of(name)) for name in names}
    chosen = [i for i in range(1, len(GROUPS)) if i in numbers.values()]
    apart: dict[str, set[str]] = {}
    for one in outliers:
        apart.setdefault(one.row.series.stem, set()).add(one.spread.name)
    labels = {i: f" g{i}" if i else "" for i in range(len(GROUPS))}
    head = "".join(
        f'<th scope="col" class="n{labels[numbers[name]]}" title="{escape(_explain(name))}">'
        f"{escape(name).replace('_', '_<wbr>')}</th>"
        for name in names
    )
    with_series = any(row.series_label for row in rows)
    fixed = ["participant", *["series"] * with_series, "state", "verdict"]
    fixed_head = "".join(f'<th scope="col">{name}</th>' for name in fixed)
    body = [
        _row(row, names, numbers, apart.get(row.series.stem, set()), with_series) for row in rows
    ]
    # siblings before the table, so that a style sheet can tell from them what to hide
    checks = "".join(
        f'<input type="checkbox" id="columns-{i}"><label for="columns-{i}">{escape(GROUPS[i])}'
        "</label>\n"
        for i in chosen
    )
    html = (
        '<div class="tools" data-tools="measures">'
        f"{search_box('part of a participant, state or verdict')}</div>\n"
        f'<div class="columns" role="group" aria-label="Columns">More columns:\n{checks}'
        '<div class="rows" tabindex="0" role="region" aria-label="Measures of all series">\n'
        f'<table class="sortable measures" id="measures"><thead><tr>{fixed_head}<th scope="col" '
        f'class="n" title="Measures that stand apart">outliers</th>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(body)
        + "\n</tbody></table></div></div>"
    )
    style = "".join(
        f"#columns-{i}:not(:checked) ~ .rows .g{i} {{ display: none; }}\n" for i in chosen
    )
    return html, style


def search_box(what: str) -> str:
    """Write the box that a script shows, since without one it would search nothing."""
    return (
        f'<label hidden>Search <input type="search" placeholder="{escape(what)}"></label>'
        '<output aria-live="polite"></output>'
    )


def page_link(row: SeriesRow) -> str:
    """Name a participant, with a link to its page if there is one."""
    label, page = f"sub-{row.participant.label}", row.participant.page_file
    if page is None:
        return escape(label)
    return f'<a href="{escape(quote(page.name))}">{escape(label)}</a>'


def light(verdict: Verdict) -> str:
    """Show a verdict as the participant's page does."""
    return f'<span class="light light-{verdict.name.lower()}">{verdict}</span>'


def _row(
    row: SeriesRow,
    names: Sequence[str],
    numbers: Mapping[str, int],
    apart: set[str],
    with_series: bool,
) -> str:
    cells = [
        f'<tr><th scope="row">{page_link(row)}',
        *[f"<td class=t>{escape(row.series_label)}"] * with_series,
        f"<td class=t>{row.participant.state}",
        f'<td class=t data-sort="{_RANKS[row.verdict]}">{light(row.verdict)}',
        f"<td>{len(apart)}",
    ]
    verdicts = {one.name: one.verdict for one in row.judgements}
    for name in names:
        classes = [f"g{numbers[name]}"] if numbers[name] else []
        value = row.measures.get(name)
        if value is not None:
            classes += [flag] if (flag := _FLAGS.get(verdicts.get(name, Verdict.NONE))) else []
            classes += ["o"] if name in apart else []
        attribute = ""
        if classes:
            joined = " ".join(classes)
            attribute = f' class="{joined}"' if len(classes) > 1 else f" class={joined}"
        cells.append(f"<td{attribute}>{_say(name, value)}")
    return "".join(cells)


def _say(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name in WORDS:
        return escape(WORDS[name].get(round(value), number(value)))
    return number(value)


def _explain(name: str) -> str:
    meaning, unit = describe(name)
    said = f"{meaning} ({unit})" if unit else meaning
    limit = limit_of(name)
    return f"{said}; {say_limit(limit)}" if limit else said
