"""The lists of a study: who did not finish and why, and which values stand apart."""

from collections import Counter
from collections.abc import Sequence
from html import escape

from shd_bids.bids.study import Study
from shd_bids.dwi.judgement import Verdict
from shd_bids.dwi.spread import LARGEST_Z, LEAST_SERIES
from shd_bids.reports.fragments import alert, data_table, note

from .frame import scroll_box
from .meanings import describe
from .measures import SeriesRow
from .measures_table import light, page_link, search_box
from .outliers import Outlier
from .svg import number
from .tables import list_gaps

_MOST_OUTLIERS = 500
_APART = (
    f"A value stands apart (*) where its modified z-score, 0.6745 times its distance from the "
    f"median over the median absolute deviation, is beyond {LARGEST_Z} (Iglewicz and Hoaglin, How "
    "to Detect and Handle Outliers, 1993). Where more than half of the values are alike, the mean "
    "absolute deviation takes its place. Series are compared within their acquisition: the same "
    f"label of acq and the same shells. With fewer than {LEAST_SERIES} of them nothing is judged. "
    "Of normally distributed values about one in 2000 is marked by chance, of skewed ones more."
)


def gaps_section(study: Study) -> str:
    """List the participants that did not finish, with what is missing and what failed."""
    gaps = list_gaps(study)
    if not gaps:
        return alert("Every participant finished, and nothing is missing.", "success")
    common = Counter(gap["message"] for gap in gaps if gap["message"])
    parts = []
    if any(count > 1 for count in common.values()):
        shared: list[list[object]] = [
            [count, message] for message, count in common.most_common(10) if count > 1
        ]
        parts += ["<h3>Failures that several participants share</h3>",
                  scroll_box(data_table(["participants", "message"], shared))]  # fmt: skip
    pages = {f"sub-{one.label}": one.page_file for one in study.participants}
    body = []
    for gap in gaps:
        label, page = gap["participant_id"], pages[gap["participant_id"]]
        name = f'<a href="{escape(page.name)}">{escape(label)}</a>' if page else escape(label)
        texts = "".join(f"<td class=t>{escape(gap[key])}" for key in ("state", "missing"))
        body.append(f'<tr><th scope="row">{name}{texts}<td class=t>{escape(gap["message"])}')
    columns = ["participant", "state", "missing", "what failed"]
    parts.append(_sortable("missing", columns, body, "Missing outputs", "part of any text"))
    parts.append(
        note("Missing is what the last run of a participant was asked for and is not there. "
             "Incomplete means that nothing failed: that run was cut off, or is still going on.")
    )  # fmt: skip
    return "\n".join(parts)


def outliers_section(rows: Sequence[SeriesRow], outliers: Sequence[Outlier]) -> str:
    """List the values that stand apart, the farthest first, beside the median."""
    if not rows:
        return ""
    if not outliers:
        return alert("No value stands apart from the others.", "success") + note(_APART)
    body = []
    for one in outliers[:_MOST_OUTLIERS]:
        meaning, unit = describe(one.spread.name)
        body.append(
            f'<tr><th scope="row">{page_link(one.row)}<td class=t>{escape(one.row.series_label)}'
            f"<td class=t>{escape(meaning)}{escape(f', {unit}' if unit else '')}"
            f"<td>{number(one.value)}<td>{number(one.spread.median)}<td>{one.z_score:.1f}"
            f"<td class=t>{_light_on(one)}"
        )
    columns = ["participant", "series", "measure", "value", "median", "z-score", "by its limits"]
    table = _sortable("outliers", columns, body, "Outliers", "part of a participant or measure")
    n_left = len(outliers) - _MOST_OUTLIERS
    more = note(f"{n_left} more stand in group/group_desc-outliers_qc.tsv.") if n_left > 0 else ""
    return table + more + note(_APART)


def _light_on(outlier: Outlier) -> str:
    """Show what the limits say of a value; nothing where there are none."""
    verdict = outlier.row.verdict_on(outlier.spread.name)
    return "" if verdict is Verdict.NONE else light(verdict)


def _sortable(
    name: str, columns: Sequence[str], body: Sequence[str], said: str, searched: str
) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    return (
        f'<div class="tools" data-tools="{name}">{search_box(searched)}</div>\n'
        f'<div class="rows" tabindex="0" role="region" aria-label="{escape(said)}">'
        f'<table class="sortable texts" id="{name}"><thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(body)
        + "\n</tbody></table></div>"
    )
