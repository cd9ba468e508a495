"""How each measure is distributed over the series: a strip of dots for each acquisition."""

from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from shd_bids.dwi.judgement import Limit, Verdict

from .meanings import describe, limit_of, say_limit
from .measures import SeriesRow
from .outliers import Outlier, Spread, by_acquisition
from .svg import axis, dots, drawing, number, spread_labels, swarm, text

_WIDTH, _STRIP, _LABELS, _AXIS, _MARGIN = 400, 58, 28, 18, 12
_MOST_STRIPS = 6
_MOST_LABELS = 6
_NEAR_LOOK, _NEAR_POOR = 6.0, 2.0  # widths of the distribution that a limit is drawn within
_FAR = 12.0  # robust standard deviations; what lies beyond is drawn at the edge


def distribution_figure(
    name: str, rows: Sequence[SeriesRow], spreads: Sequence[Spread], outliers: Sequence[Outlier]
) -> str:
    """Draw one measure of all series.

    Parameters
    ----------
    name
        Of the measure.
    rows
        Of the study.
    spreads, outliers
        Of the study, as of `find_outliers`.

    Returns
    -------
    str
        A ``<figure>``; empty if no series has the measure.
    """
    groups = {
        acquisition: [row for row in members if name in row.measures]
        for acquisition, members in by_acquisition(rows).items()
    }
    groups = {key: members for key, members in groups.items() if members}
    if not groups:
        return ""
    left_out = list(groups)[_MOST_STRIPS:]
    shown = {key: groups[key] for key in list(groups)[:_MOST_STRIPS]}
    spread_of = {one.acquisition: one for one in spreads if one.name == name}
    limit = limit_of(name)
    low, high = _view([spread_of[key] for key in shown], shown, name, limit)

    def place(value: float) -> float:
        share = (value - low) / (high - low)
        return _MARGIN + (_WIDTH - 2 * _MARGIN) * float(np.clip(share, 0.0, 1.0))

    parts, y, own = [], 0.0, [one for one in outliers if one.spread.name == name]
    for acquisition, members in shown.items():
        if len(groups) > 1:
            y += 14
            parts.append(text(_MARGIN, y - 2, f"{acquisition}: {len(members)} series", "strip"))
        mine = [one for one in own if one.spread.acquisition == acquisition]
        parts += _draw_strip(name, members, spread_of[acquisition], mine, place, y)
        y += _LABELS + _STRIP
    back = [*axis(place, low, high, y), *_draw_limits(limit, low, high, place, y)]
    meaning, unit = describe(name)
    count = sum(map(len, groups.values()))
    said = f"{meaning}: {count} series, {len(own)} of them apart from the others"
    svg = drawing(_WIDTH, round(y + _AXIS), said, [*back, *parts])
    more = f" {len(left_out)} rarer acquisitions are not drawn." if left_out else ""
    limits = f" Limits: {say_limit(limit)}." if limit else ""
    return (
        f"<figure><figcaption><strong>{escape(meaning)}</strong>"
        f"{escape(f', {unit}' if unit else '')} <code>{escape(name)}</code><br/>"
        f"{escape(_summary(spread_of, shown) + limits + more)}</figcaption>"
        f"{svg}</figure>"
    )


def _view(
    spreads: Sequence[Spread],
    groups: dict[str, list[SeriesRow]],
    name: str,
    limit: Limit | None,
) -> tuple[float, float]:
    """Choose the ends of the axis: all values but the farthest, and limits that are near."""
    lows, highs = [], []
    for spread in spreads:
        values = [row.measures[name] for row in groups[spread.acquisition]]
        reach = _FAR * spread.sigma if spread.sigma else np.inf
        lows.append(max(min(values), spread.median - reach))
        highs.append(min(max(values), spread.median + reach))
    low, high = min(lows), max(highs)
    width = (high - low) or abs(high) or 1.0
    if limit is not None:
        for value, reach in ((limit.look, _NEAR_LOOK), (limit.poor, _NEAR_POOR)):
            if low - reach * width <= value <= high + reach * width:
                low, high = min(low, value), max(high, value)
    margin = 0.03 * ((high - low) or abs(high) or 1.0)
    return low - margin, high + margin


def _draw_strip(
    name: str,
    members: Sequence[SeriesRow],
    spread: Spread,
    outliers: Sequence[Outlier],
    place: Callable[[float], float],
    top: float,
) -> list[str]:
    xs = np.array([place(row.measures[name]) for row in members])
    ys = np.array(swarm(xs, top + _LABELS + _STRIP / 2, _STRIP - 8))
    verdicts = [row.verdict_on(name) for row in members]
    x = place(spread.median)
    parts = [f'<path class="median" d="M{x:.1f} {top + _LABELS}v{_STRIP}"/>']
    for verdict in (Verdict.NONE, Verdict.GOOD, Verdict.LOOK, Verdict.POOR):
        chosen = [i for i, one in enumerate(verdicts) if one is verdict]
        parts.append(dots(xs[chosen], ys[chosen], verdict.name.lower()))
    where = {id(row): (x, y) for row, x, y in zip(members, xs, ys, strict=True)}
    wanted = []
    for one in outliers:
        x, y = where[id(one.row)]
        parts.append(
            f'<circle class="apart" cx="{x:.1f}" cy="{y:.1f}" r="3.6"><title>'
            f"{escape(one.row.series.stem)}: {number(one.value)}</title></circle>"
        )
        wanted.append((x, one.row.series.stem))
    for x, row, anchor, label in spread_labels(wanted[:_MOST_LABELS], 0, _WIDTH, 2):
        parts.append(text(x, top + 11 + 12 * row, label, "who", anchor))
    return parts


def _draw_limits(
    limit: Limit | None, low: float, high: float, place: Callable[[float], float], bottom: float
) -> list[str]:
    if limit is None:
        return []
    return [
        f'<path class="limit {kind}" d="M{place(value):.1f} 0V{bottom:.1f}"/>'
        for kind, value in (("look", limit.look), ("poor", limit.poor))
        if low <= value <= high
    ]


def _summary(spread_of: dict[str, Spread], shown: dict[str, list[SeriesRow]]) -> str:
    if len(shown) > 1:
        return "Line: median."
    (spread,) = (spread_of[key] for key in shown)
    said = f"Median {number(spread.median)}"
    return f"{said}, spread {number(spread.sigma)}." if spread.sigma else f"{said}."
