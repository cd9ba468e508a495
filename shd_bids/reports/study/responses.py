"""The responses of all series over the average of the study."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from shd_bids.reports.figures.response import zonal_signal
from shd_bids.reports.figures.style import TISSUE_NAMES, shell_label

from .chart import RIGHT, TOP, WIDTH, Curve, draw_chart
from .measures import ResponseRows, SeriesRow
from .outliers import by_acquisition
from .svg import nice_ticks, number, text

_MOST_CURVES = 150
_ANGLES = np.linspace(0.0, 90.0, 19)


def response_figures(
    rows: Sequence[SeriesRow], averages: Sequence[Mapping[str, ResponseRows]] = ()
) -> str:
    """Draw the responses of each acquisition: by angle, and the decay with b.

    All signals stand over the white matter's at b=0 of the same response, so that the gain of the
    scanner does not matter.

    Parameters
    ----------
    rows
        Of the study.
    averages
        By tissue: b-values and zonal coefficients, shell by degree. Each is drawn with the
        acquisitions that have its shells, the one with the same tissues first.

    Returns
    -------
    str
        HTML; empty if no series has a response.
    """
    parts = []
    for acquisition, members in by_acquisition(rows).items():
        having = [row.responses for row in members if "WM" in row.responses]
        if not having:
            continue
        mean = _find_average(averages, having[0])
        step = -(-len(having) // _MOST_CURVES)
        few = having[::step]
        said = f"{acquisition}: {len(having)} series"
        said += f", {len(few)} of them drawn" if step > 1 else ""
        said += "; black: the average of the study." if mean else "."
        figures = [_angle_figure(few, mean, shell) for shell in range(1, len(having[0]["WM"][0]))]
        figures.append(_decay_figure(few, mean))
        parts.append(
            f'<p class="description">{escape(said)}</p>\n<div class="grid">{"".join(figures)}</div>'
        )
    return "\n".join(parts)


def _find_average(
    averages: Sequence[Mapping[str, ResponseRows]], response: Mapping[str, ResponseRows]
) -> Mapping[str, ResponseRows] | None:
    """Find the average over series like this one."""
    bvals = response["WM"][0]
    fitting = [
        one
        for one in averages
        if "WM" in one
        and len(one["WM"][0]) == len(bvals)
        and np.allclose(one["WM"][0], bvals, rtol=0, atol=80.0)
    ]
    return min(fitting, key=lambda one: len(set(one) ^ set(response)), default=None)


def _angle_figure(
    responses: Sequence[Mapping[str, ResponseRows]],
    mean: Mapping[str, ResponseRows] | None,
    shell: int,
) -> str:
    curves = [_angle_curve(one, shell) for one in responses if len(one["WM"][0]) > shell]
    average = [_angle_curve(mean, shell)] if mean else []
    high = 1.05 * max(y for curve in [*curves, *average] for _, y in curve)
    low = min(0.0, *(y for curve in curves for _, y in curve))
    title = f"White matter, {shell_label(responses[0]['WM'][0][shell])}"
    return draw_chart(
        title,
        "angle to the fibre (degrees)",
        (0.0, 90.0, [0.0, 30.0, 60.0, 90.0]),
        (low, high, nice_ticks(low, high, 5)),
        [(curves, "tissue-WM"), (average, "average")],
        f"{title}: signal over b=0 by angle, {len(curves)} curves",
    )


def _angle_curve(response: Mapping[str, ResponseRows], shell: int) -> Curve:
    rows = response["WM"][1]
    signal = zonal_signal(np.array([rows[shell]], dtype=float), _ANGLES)[0] / _b0(response)
    return list(zip(_ANGLES.tolist(), signal.tolist(), strict=True))


def _decay_figure(
    responses: Sequence[Mapping[str, ResponseRows]], mean: Mapping[str, ResponseRows] | None
) -> str:
    tissues = list(dict.fromkeys(tissue for one in responses for tissue in one))
    drawn = [
        ([_decay(one, tissue) for one in responses if tissue in one], f"tissue-{tissue}")
        for tissue in tissues
    ]
    if mean:
        drawn.append(([_decay(mean, tissue) for tissue in tissues if tissue in mean], "average"))
    values = [y for curves, _ in drawn for curve in curves for _, y in curve]
    right = max(x for curves, _ in drawn for curve in curves for x, _ in curve)
    low, high = min(values) - 0.05, max(values) + 0.05
    decades = [
        np.log10(v) for v in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
    ]
    legend = [
        text(WIDTH - RIGHT, TOP + 12 + 13 * i, TISSUE_NAMES[t], f"tissue-{t} legend", "end")
        for i, t in enumerate(tissues)
    ]
    return draw_chart(
        "Mean over directions, by tissue",
        "b-value (s/mm²)",
        (0.0, right, nice_ticks(0.0, right, 4)),
        (low, high, [float(t) for t in decades if low <= t <= high]),
        drawn,
        f"Mean signal over b=0 of white matter, by b-value, {len(responses)} curves a tissue",
        say_y=lambda tick: number(10**tick),
        more=legend,
    )


def _decay(response: Mapping[str, ResponseRows], tissue: str) -> Curve:
    """Give the logarithm of the mean signal by b-value."""
    bvals, rows = response[tissue]
    mean = np.array([row[0] for row in rows], dtype=float) / np.sqrt(4 * np.pi) / _b0(response)
    logarithm = np.log10(mean.clip(1e-3))
    return list(zip([float(b) for b in bvals], logarithm.tolist(), strict=True))


def _b0(response: Mapping[str, ResponseRows]) -> float:
    return float(response["WM"][1][0][0]) / float(np.sqrt(4 * np.pi)) or 1.0
