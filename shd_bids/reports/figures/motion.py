"""How the head moved, volume by volume, and which slices lost their signal."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from shd_bids.dwi.displacement import framewise_displacement
from shd_bids.dwi.shells import Shells
from shd_bids.dwi.transforms import VolumeTransforms

from .style import FAINT, INK, SERIES_COLORS, save_figure, shell_color, shell_label, tidy_chart

_AXES = ("left-right", "front-back", "up-down")
_CARPET_LIMIT = 6.0  # standard deviations


def plot_motion(
    transforms: VolumeTransforms,
    shells: Shells,
    out_file: Path,
    *,
    slice_scores: Float[np.ndarray, "volume slice"] | None = None,
    dropout: Bool[np.ndarray, "volume slice"] | None = None,
) -> Path:
    """Draw translations, rotations and framewise displacement, and the slices as a carpet.

    Parameters
    ----------
    transforms
        Of all volumes, relative to the first b=0.
    shells
        Shell of each volume; drawn as a strip of colours.
    out_file
        ``.svg`` or ``.png``.
    slice_scores
        Signal of every slice against its prediction, in standard deviations; NaN where the slice
        holds no brain.
    dropout
        Slices that were replaced; marked in the carpet.

    Returns
    -------
    Path
        ``out_file``.
    """
    heights = [3.0, 3.0, 2.0, 0.25] + ([3.4] if slice_scores is not None else [])
    figure = Figure(figsize=(10, sum(heights) * 0.75), facecolor="white", layout="constrained")
    rows = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    _draw_axes(rows[0], transforms.translation_mm, "translation, mm")
    _draw_axes(rows[1], np.rad2deg(transforms.rotation_rad), "rotation, degrees")
    rows[0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)
    volume = np.arange(transforms.n_volume)
    rows[2].fill_between(volume, framewise_displacement(transforms), color=SERIES_COLORS[3], lw=0)
    rows[2].set_ylabel("framewise\ndisplacement, mm")
    rows[2].set_ylim(bottom=0)
    _draw_shells(rows[3], shells)
    for axes in rows[:3]:
        tidy_chart(axes)
    if slice_scores is not None:
        _draw_carpet(rows[4], slice_scores, dropout)
    rows[-1].set_xlabel("volume")
    rows[-1].set_xlim(-0.5, transforms.n_volume - 0.5)
    return save_figure(figure, out_file, dpi=120)


def _draw_axes(axes: Axes, values: Float[np.ndarray, "volume 3"], label: str) -> None:
    for name, color, series in zip(_AXES, SERIES_COLORS, values.T, strict=False):
        axes.plot(series, color=color, lw=1.4, label=name)
    axes.axhline(0, color=FAINT, lw=0.8)
    axes.set_ylabel(label)


def _draw_shells(axes: Axes, shells: Shells) -> None:
    for shell in range(shells.n_shell):
        volumes = shells.volumes(shell)
        label = shell_label(shells.bvals[shell])
        color = shell_color(shell)
        axes.bar(volumes, 1.0, width=1.0, color=color, edgecolor=color, lw=0.5, label=label)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(bottom=False)
    axes.legend(
        loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9, handlelength=0.8
    )


def _draw_carpet(
    axes: Axes,
    slice_scores: Float[np.ndarray, "volume slice"],
    dropout: Bool[np.ndarray, "volume slice"] | None,
) -> None:
    axes.set_facecolor("#e4e7eb")  # slices without brain
    picture = axes.imshow(
        slice_scores.T,
        cmap="RdBu_r",
        vmin=-_CARPET_LIMIT,
        vmax=_CARPET_LIMIT,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
    )
    if dropout is not None:
        volumes, slices = np.nonzero(dropout)
        axes.scatter(volumes, slices, s=26, facecolors="none", edgecolors="#e67700", linewidths=1.3)
    axes.set_ylabel("slice", color=INK)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    bar = axes.figure.colorbar(picture, cax=axes.inset_axes((1.015, 0.0, 0.018, 1.0)))
    bar.set_label("signal against prediction, sd", color=INK)
