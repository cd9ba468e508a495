"""The course of the training: loss terms over steps and time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shd_bids.reports.figures.style import (
    INK,
    SERIES_COLORS,
    model_name,
    save_figure,
    tidy_chart,
)


def plot_loss(histories: Mapping[str, Mapping[str, Any]], out_file: Path) -> Path:
    """Draw each loss term over the steps: thin as recorded, thick smoothed.

    Parameters
    ----------
    histories
        By model label: ``step`` (list), ``loss`` (``{term: list}``, before weighting; ``total``
        is their weighted sum), ``seconds`` (list, since the start); as in ``history.json``.
    out_file
        ``.svg`` or ``.png``.

    Returns
    -------
    Path
        ``out_file``.
    """
    n_model = len(histories)
    figure = Figure(
        figsize=(12 if n_model > 1 else 9.6, 4.2 * ((n_model + 1) // 2)), facecolor="white"
    )
    grid = figure.add_gridspec(
        (n_model + 1) // 2, min(n_model, 2), left=0.075, right=0.985, bottom=0.14, top=0.86,
        wspace=0.2, hspace=0.5,
    )  # fmt: skip
    for order, (label, history) in enumerate(histories.items()):
        axes = figure.add_subplot(grid[order // 2, order % 2])
        _draw_history(axes, history)
        tidy_chart(axes)
        seconds = np.asarray(history.get("seconds", []), dtype=float)
        took = f"   {_duration(float(seconds[-1]))} of training" if seconds.size else ""
        axes.set_title(
            f"{model_name(label)}{took}", loc="left", fontsize=11, fontweight="bold", color=INK
        )
    return save_figure(figure, out_file, dpi=120)


def _draw_history(axes: Axes, history: Mapping[str, Any]) -> None:
    steps = np.asarray(history["step"], dtype=float)
    terms = {name: np.asarray(values, dtype=float) for name, values in history["loss"].items()}
    drawn = 0
    for name, values in terms.items():
        values = np.where(values > 0, values, np.nan)
        if not np.isfinite(values).any():
            continue
        total = name == "total"
        color = INK if total else SERIES_COLORS[drawn % len(SERIES_COLORS)]
        drawn += 0 if total else 1
        axes.plot(steps, values, color=color, lw=0.5, alpha=0.35)
        smooth = _running_median(values)
        axes.plot(
            steps,
            smooth,
            color=color,
            lw=2.2 if total else 1.6,
            marker="o" if steps.size == 1 else "",
            label=name.replace("_", " "),
        )
    axes.set_yscale("log")
    axes.set_xlabel("training step")
    axes.set_ylabel("loss")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, ncols=5, loc="lower left", bbox_to_anchor=(0, -0.3))


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
