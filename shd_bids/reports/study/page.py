"""The page of a study, ``group.html``: one file that needs nothing else."""

import platform
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from shd_bids import __version__
from shd_bids.bids.files import write_text
from shd_bids.bids.study import State, Study
from shd_bids.dwi.judgement import Verdict
from shd_bids.dwi.spread import LEAST_SERIES
from shd_bids.reports.fragments import alert, data_table, fact_table, note
from shd_bids.reports.methods import methods_fragment

from .distributions import distribution_figure
from .frame import scroll_box, write_frame
from .lights import lights_section
from .lists import gaps_section, outliers_section
from .meanings import GROUPS, WORDS, describe, group_of, limit_of
from .measures import ResponseRows, SeriesRow, gather_measures, measure_names
from .measures_table import measures_table
from .outliers import Outlier, Spread, by_acquisition, find_outliers
from .responses import response_figures
from .svg import number
from .tables import write_tables
from .training import training_figure

_DRAWN_GROUPS = [group for group in GROUPS if group != "Acquisition"]


@dataclass(frozen=True)
class StudyNetwork:
    """What is known of a network that was trained for a study.

    Attributes
    ----------
    name
        Of the scans that it was trained on, where there are several networks.
    losses
        Its loss at the end on each series, by the series' stem or ``sub-X``.
    steps, course
        Course of the training: number of the step, and the loss there.
    facts
        More to say, by name.
    """

    name: str = ""
    losses: Mapping[str, float | int] = field(default_factory=dict)
    steps: Sequence[float | int] = ()
    course: Sequence[float | int] = ()
    facts: Mapping[str, object] = field(default_factory=dict)


def write_study_report(
    output_dir: Path,
    study: Study,
    *,
    averages: Sequence[Mapping[str, ResponseRows]] = (),
    networks: Sequence[StudyNetwork] = (),
    messages: Sequence[str] = (),
    methods: str = "",
    facts: Mapping[str, object] | None = None,
) -> Path:
    """Write the tables of a study to ``group/``, and its page.

    Parameters
    ----------
    output_dir
        Root of the output dataset.
    study
        As of `shd_bids.bids.study.read_study`.
    averages
        The study's responses, one set for each kind of scans: by tissue, b-values (s/mm²) and zonal
        coefficients, shell by degree.
    networks
        Those that were trained for the study, one for each kind of scans.
    messages
        What the group level has to say, in a sentence each.
    methods
        Markdown with citation keys; empty leaves the section out.
    facts
        More lines for the section About.

    Returns
    -------
    Path
        The page, ``group.html``.
    """
    added = {
        key: {"network_loss": loss} for network in networks for key, loss in network.losses.items()
    }
    rows = gather_measures(study, added)
    spreads, outliers = find_outliers(rows)
    write_tables(output_dir / "group", study, rows, outliers)
    table, style = measures_table(rows, outliers)
    sections = {
        "Summary": _summary(study, rows, outliers, messages),
        "Missing and failed": gaps_section(study),
        "Quality": lights_section(rows) if rows else "",
        "Outliers": outliers_section(rows, outliers),
        "Measures": _measures(table) if rows else "",
        "Distributions": _distributions(rows, spreads, outliers),
        "Responses": response_figures(rows, averages),
        "Network": _networks(networks, rows, spreads, outliers) if networks else "",
        "Methods": methods_fragment(methods, "group") if methods.strip() else "",
        "About": _about(rows, facts or {}),
    }
    page_file = output_dir / "group.html"
    write_text(page_file, write_frame("shd-bids: study", sections, style))
    return page_file


def _summary(
    study: Study, rows: Sequence[SeriesRow], outliers: Sequence[Outlier], messages: Sequence[str]
) -> str:
    states = Counter(one.state for one in study.participants)
    verdicts = Counter(row.verdict for row in rows)
    tiles = [
        _tile(len(study.participants), "participants"),
        *(_tile(states[state], str(state), f"is-{state.name.lower()}")
          for state in State if states[state]),
        _tile(len(rows), "series"),
        *(_tile(verdicts[verdict], f"series: {verdict}") for verdict in Verdict
          if verdicts[verdict]),
        _tile(len({one.row.series.stem for one in outliers}), "series with outliers"),
    ]  # fmt: skip
    groups = {name: len(members) for name, members in by_acquisition(rows).items()}
    few = [name for name, count in groups.items() if count < LEAST_SERIES]
    parts = [alert(text, "warning") for text in messages]
    if not study.participants:
        parts.append(alert("There are no participants.", "danger"))
    parts.append(f'<ul class="tiles">{"".join(tiles)}</ul>')
    if groups:
        parts.append(
            scroll_box(data_table(["acquisition", "series"], list(map(list, groups.items()))))
        )
    if few:
        parts.append(
            note(f"Too few series to look for outliers (fewer than {LEAST_SERIES}): "
                 f"{'; '.join(few)}.")
        )  # fmt: skip
    return "\n".join(parts)


def _tile(count: int, what: str, kind: str = "") -> str:
    return f'<li class="{kind}"><strong>{count}</strong>{escape(what)}</li>'


def _measures(table: str) -> str:
    legend = (
        '<p class="description">A value that asks for a look is <span class="measures">'
        '<span class="l">yellow</span>, a poor one <span class="p">red</span>, one that stands '
        'apart <span class="o">bold</span></span>. Press a heading to sort, where scripts '
        "may run; point at it to read what it is. All columns are in "
        "<code>group/group_desc-measures_qc.tsv</code>.</p>"
    )
    return legend + table


def _distributions(
    rows: Sequence[SeriesRow], spreads: Sequence[Spread], outliers: Sequence[Outlier]
) -> str:
    parts = []
    names = measure_names(rows)
    for group in _DRAWN_GROUPS:
        figures = [
            figure
            for name in names
            if group_of(name) == group and name != "network_loss" and name not in WORDS
            if (figure := distribution_figure(name, rows, spreads, outliers))
        ]
        if not figures:
            continue
        grid = f'<div class="grid">{"".join(figures)}</div>'
        if group == GROUPS[0]:
            parts.append(grid)
        else:
            said = f"{group}: {len(figures)} more"
            parts.append(f"<details><summary>{said}</summary>{grid}</details>")
    if not parts:
        return ""
    legend = (
        "A dot is a series: green, yellow or red by the limits, grey where there are none. Upright "
        "line: median; dashed: the limits. Circled: it stands apart; those that do so most are "
        "named. What is very far away stands at the edge."
    )
    return "\n".join([f'<p class="description">{legend}</p>', *parts])


def _networks(
    networks: Sequence[StudyNetwork],
    rows: Sequence[SeriesRow],
    spreads: Sequence[Spread],
    outliers: Sequence[Outlier],
) -> str:
    parts = [
        (f"<h3>{escape(one.name)}</h3>" if one.name else "")
        + (scroll_box(fact_table(one.facts)) if one.facts else "")
        for one in networks
    ]
    figures = distribution_figure("network_loss", rows, spreads, outliers)
    figures += "".join(training_figure(one.steps, one.course, one.name) for one in networks)
    return "\n".join([*parts, f'<div class="grid">{figures}</div>' if figures else ""])


def _about(rows: Sequence[SeriesRow], facts: Mapping[str, object]) -> str:
    described: list[list[object]] = []
    for name in measure_names(rows):
        (meaning, unit), limit = describe(name), limit_of(name)
        limits = (number(limit.look), number(limit.poor)) if limit else ("", "")
        described.append([name, meaning, unit, *limits])
    table = fact_table(
        {
            "shd-bids": __version__,
            "Command": " ".join(sys.argv),
            "Date": time.strftime("%Y-%m-%d %H:%M"),
            "Python": platform.python_version(),
            "Tables": "group/group_desc-measures_qc.tsv, group/group_desc-outliers_qc.tsv, "
            "group/group_desc-missing_qc.tsv",
            **facts,
        }
    )
    table = scroll_box(table)
    if not described:
        return table
    listed = scroll_box(data_table(["column", "what it is", "unit", "good", "poor"], described))
    return f"{table}\n<details><summary>What each measure is</summary>{listed}</details>"
