"""The judgement of a scan as HTML: what asks for a look, and all limits."""

import re
from collections.abc import Sequence
from html import escape

from shd_bids.dwi.judgement import Judgement, Verdict

from .fragments import alert, note

_HEADS = ("verdict", "measure", "value", "good", "poor")
_WORDS = {"gradient_check": {1: "yes", 0: "cannot be told", -1: "no"}}
_LIGHT = re.compile(r'class="light light-(\w+)"')
_WORST_FIRST = (Verdict.POOR, Verdict.LOOK, Verdict.GOOD)
_SOURCES = (
    "Between good and poor, a measure asks for a look. The limits are conventions of shd-bids that "
    "mark a scan and change nothing; QSIPrep and FSL's eddy QC report most of these measures and "
    "set no limits. Framewise displacement is that of Power et al. (NeuroImage 59, 2012), the "
    "correlation of neighbouring volumes that of Yeh et al. (NeuroImage 202, 2019); dropout is "
    "found as by Andersson et al. (NeuroImage 141, 2016), at 4 standard deviations as in eddy; "
    "contrast over noise is close to that of Bastiani et al. (NeuroImage 184, 2019)."
)


def judgement_fragment(judgements: Sequence[Judgement]) -> str:
    """Warn of what is poor, then list every judgement with its limits.

    Parameters
    ----------
    judgements
        As of `shd_bids.dwi.judgement.judge`.

    Returns
    -------
    str
        HTML.
    """
    poor = [one for one in judgements if one.verdict is Verdict.POOR]
    doubtful = [one for one in judgements if one.verdict is Verdict.LOOK]
    parts = [
        alert(f"{one.meaning}: {_say(one, one.value)}. {one.limit.warning}", "danger")
        for one in poor
    ]
    if doubtful:
        listed = "; ".join(one.meaning for one in doubtful)
        parts.append(alert(f"Asks for a look: {listed}.", "warning"))
    if not poor and not doubtful:
        parts.append(alert("No measure that was made asks for a look.", "success"))
    head = "".join(f'<th scope="col">{name}</th>' for name in _HEADS)
    rows = [f"<tr>{''.join(_cells(one))}</tr>" for one in judgements]
    return "\n".join(
        [
            *parts,
            f'<table class="data">\n<thead><tr>{head}</tr></thead>\n<tbody>',
            *rows,
            "</tbody></table>",
            note(_SOURCES),
        ]
    )


def tally(fragment: str) -> tuple[Verdict, str]:
    """Tell the worst verdict of a fragment, and how many measures ask for attention, in words.

    Examples
    --------
    >>> tally('<span class="light light-look">look</span> <span class="light light-none">')
    (<Verdict.LOOK: 'look'>, '1 asks for a look; 1 of 2 measured')
    """
    found = [Verdict[kind.upper()] for kind in _LIGHT.findall(fragment)]
    made = [verdict for verdict in found if verdict is not Verdict.NONE]
    n_poor, n_look = made.count(Verdict.POOR), made.count(Verdict.LOOK)
    words = [
        *([f"{n_poor} poor"] if n_poor else []),
        *([f"{n_look} {'asks' if n_look == 1 else 'ask'} for a look"] if n_look else []),
    ]
    count = f"{len(made)} of {len(found)} measured"
    worst = next((one for one in _WORST_FIRST if one in made), Verdict.NONE)
    return worst, f"{', '.join(words) or 'nothing asks for a look'}; {count}"


def _cells(one: Judgement) -> list[str]:
    good, poor = ("≥", "<") if one.limit.more_is_better else ("≤", ">")
    kind = one.verdict.name.lower()
    remark = f" ({one.remark})" if one.remark else ""
    limits = [f"{good} {_say(one, one.limit.look)}", f"{poor} {_say(one, one.limit.poor)}"]
    if one.name in _WORDS:
        limits = ["yes", "no"]
    known = one.verdict is not Verdict.NONE
    texts = [_say(one, one.value) if known else "", *limits]
    return [
        f'<td><span class="light light-{kind}">{one.verdict}</span></td>',
        f"<td>{escape(one.meaning + remark)}</td>",
        *(f'<td class="short">{escape(text)}</td>' for text in texts),
    ]


def _say(one: Judgement, value: float | None) -> str:
    if value is None:
        return ""
    if one.name in _WORDS:
        return _WORDS[one.name][round(value)]
    return f"{value:.3g} {one.unit}" if one.unit in ("mm", "%") else f"{value:.3g}"
