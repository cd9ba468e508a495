"""Matrices between the regions of atlases: how many streamlines, and how long."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from shd_bids.reports.figures.style import FAINT, INK, save_figure

_EMPTY = "#e4e7eb"  # pairs without streamlines
_N_NAMED = 60  # more names than this cannot be read
_N_CHARACTER = 24
_PANEL_IN = 6.5
_DPI = 120, 300  # between them, a cell has two pixels


@dataclass(frozen=True, eq=False)
class PairMatrices:
    """What is drawn of one atlas.

    Attributes
    ----------
    regions
        Names, in the order of the matrices.
    count
        Streamlines between two regions.
    mean_length_mm
        NaN where there is none.
    """

    regions: Sequence[str]
    count: Int[np.ndarray, "region region"]
    mean_length_mm: Float[np.ndarray, "region region"]


def plot_connectomes(atlases: Mapping[str, PairMatrices], out_file: Path) -> Path:
    """Draw counts, by their logarithm, and mean lengths, each atlas in a row of its own.

    Parameters
    ----------
    atlases
        By the name of the atlas.
    out_file
        ``.png`` or ``.svg``.

    Returns
    -------
    Path
        ``out_file``.
    """
    figure = Figure(
        figsize=(2 * _PANEL_IN, 0.9 * _PANEL_IN * len(atlases)),
        facecolor="white",
        layout="constrained",
    )
    rows = figure.subplots(len(atlases), 2, squeeze=False)
    for (left, right), (atlas, found) in zip(rows, atlases.items(), strict=True):
        most = max(10, int(found.count.max(initial=0)))
        counts = np.where(found.count > 0, found.count, np.nan)
        _draw(left, counts, found.regions, LogNorm(1, most), "magma", "streamlines")
        lengths = found.mean_length_mm
        longest = float(np.nanmax(lengths, initial=10.0))
        _draw(right, lengths, found.regions, Normalize(0, longest), "viridis", "mean length (mm)")
        right.tick_params(labelleft=len(found.regions) > _N_NAMED)
        left.set_title(atlas, loc="left", fontsize=11, fontweight="bold", color=INK)
    n_widest = max(len(found.regions) for found in atlases.values())
    return save_figure(figure, out_file, dpi=int(np.clip(0.6 * n_widest, *_DPI)))


def _draw(
    axes: Axes,
    matrix: Float[np.ndarray, "region region"],
    regions: Sequence[str],
    scale: Normalize,
    cmap: str,
    label: str,
) -> None:
    axes.set_facecolor(_EMPTY)
    picture = axes.imshow(matrix, norm=scale, cmap=cmap, interpolation="nearest")
    if np.isnan(matrix).all():
        axes.text(
            0.5, 0.5, "No streamline joins two regions.",
            transform=axes.transAxes, ha="center", color=INK, fontsize=11,
        )  # fmt: skip
    axes.spines[:].set_visible(False)  # they would hide the outer rows of a large matrix
    if len(regions) <= _N_NAMED:
        size = min(9.0, 300 / max(len(regions), 1))
        names = [_shorten(name) for name in regions]
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
        axes.set_yticks(range(len(names)), names, fontsize=size)
    else:
        rows = [int(row) for row in MaxNLocator(8, integer=True).tick_values(1, len(regions))]
        rows = [1, *(row for row in rows if 1 < row <= len(regions))]
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks([row - 1 for row in rows], [str(row) for row in rows], fontsize=8)
        axes.set_xlabel("region, by its row in the table", color=INK, fontsize=9)
    axes.tick_params(colors=INK, color=FAINT, length=2)
    bar = axes.figure.colorbar(picture, ax=axes, shrink=0.6, aspect=30, pad=0.02)
    bar.set_label(label, color=INK, fontsize=9)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.formatter = FuncFormatter(lambda value, _: f"{value:,.0f}")
    bar.outline.set_edgecolor(FAINT)


def _shorten(name: str) -> str:
    """Leave out the middle: names of atlases differ at their ends."""
    half = _N_CHARACTER // 2
    return name if len(name) <= _N_CHARACTER else f"{name[: half - 1]}…{name[-half:]}"
