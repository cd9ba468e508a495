"""The course of the training: loss terms over steps and time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from shd_bids.reports.figures.style import (
    INK,
    SERIES_COLORS,
    model_name,
    save_figure,
    tidy_chart,
)

_LABELS = {"start": "total in the same voxels before training"}


def plot_loss(histories: Mapping[str, Mapping[str, Any]], out_file: Path) -> Path:
    """Draw what each term adds to the loss over the steps: thin as recorded, thick smoothed.

    Parameters
    ----------
    histories
        By model label: ``step`` (list), ``loss`` (``{term: list}``, before weighting; ``total``
        is their weighted sum, ``start`` that sum without training), ``weights``
        (``{term: weight}``), ``seconds`` (list, since the start); as in ``history.json``.
    out_file
        ``.svg`` or ``.png``.

    Returns
    -------
    Path
        ``out_file``.
    """
    n_row, n_column = (len(histories) + 1) // 2, min(len(histories), 2)
    figure = Figure(
        figsize=(12 if n_column > 1 else 9.6, 4.2 * n_row), facecolor="white", layout="constrained"
    )
    lines: dict[str, Line2D] = {}
    for order, (label, history) in enumerate(histories.items(), start=1):
        axes = figure.add_subplot(n_row, n_column, order)
        lines |= _draw_history(axes, history)
        tidy_chart(axes)
        seconds = np.asarray(history.get("seconds", []), dtype=float)
        took = f"   {_duration(float(seconds[-1]))} of training" if seconds.size else ""
        axes.set_title(
            f"{model_name(label)}{took}", loc="left", fontsize=11, fontweight="bold", color=INK
        )
    figure.legend(
        handles=list(lines.values()),
        labels=[_LABELS.get(name, name.replace("_", " ")) for name in lines],
        loc="outside lower center",
        ncols=len(lines) or 1,
        frameon=False,
        fontsize=9,
    )
    return save_figure(figure, out_file, dpi=120)


def _draw_history(axes: Axes, history: Mapping[str, Any]) -> dict[str, Line2D]:
    """Draw the terms of a model and give the line of each."""
    steps = np.asarray(history["step"], dtype=float)
    lines = {}
    for order, (name, recorded) in enumerate(history["loss"].items()):
        values = np.asarray(recorded, dtype=float) * history["weights"].get(name, 1.0)
        values = np.where(values > 0, values, np.nan)
        if not np.isfinite(values).any():
            continue
        whole = name in ("total", "start")
        color = INK if whole else SERIES_COLORS[order % len(SERIES_COLORS)]
        axes.plot(steps, values, color=color, lw=0.5, alpha=0.35)
        (lines[name],) = axes.plot(
            steps,
            _running_median(values),
            color=color,
            lw=2.2 if name == "total" else 1.6,
            ls=":" if name == "start" else "-",
            marker="o" if steps.size == 1 else "",
        )
    axes.set_yscale("log")
    axes.set_xlabel("training step")
    axes.set_ylabel("loss")
    return lines


def _running_median(values: Float[np.ndarray, " step"]) -> Float[np.ndarray, " step"]:
    half = max(1, values.size // 60)
    padded = np.pad(values, half, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    known = np.isfinite(windows).any(axis=1)
    smooth = np.full(values.shape, np.nan)
    smooth[known] = np.nanmedian(windows[known], axis=1)
    return smooth


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
