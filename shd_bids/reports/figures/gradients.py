"""The gradient scheme: which directions, at which b-values, in which order."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D

from shd_bids.reports.figures.style import (
    FAINT,
    INK,
    save_figure,
    shell_color,
    shell_label,
    tidy_chart,
)


def plot_gradients(
    bvals: Float[np.ndarray, " volume"],
    bvecs_ras: Float[np.ndarray, "volume 3"],
    shell_bvals: Float[np.ndarray, " shell"],
    shell_index: Int[np.ndarray, " volume"],
    out_file: Path,
) -> Path:
    """Draw the scheme in q-space, on a map of the hemisphere and in the order of acquisition.

    Parameters
    ----------
    bvals
        As acquired, s/mm².
    bvecs_ras
        Unit vectors in scanner (RAS) axes; zero for b=0.
    shell_bvals, shell_index
        As in ``Shells``: b-value of each shell (b=0 first) and shell of each volume.
    out_file
        ``.svg`` or ``.png``.

    Returns
    -------
    Path
        ``out_file``.
    """
    figure = Figure(figsize=(12, 4.6), facecolor="white")
    space = figure.add_axes((0.0, 0.0, 0.3, 0.87), projection="3d")
    sphere = figure.add_axes((0.335, 0.05, 0.29, 0.79))
    order = figure.add_axes((0.70, 0.15, 0.285, 0.69))
    _draw_q_space(space, bvals, bvecs_ras, shell_index)
    _draw_hemisphere(sphere, bvecs_ras, shell_index)
    for shell, bval in enumerate(shell_bvals):
        volumes = np.flatnonzero(shell_index == shell)
        label = f"{shell_label(bval)} ({volumes.size})"
        order.scatter(volumes, bvals[volumes], s=13, color=shell_color(shell), label=label)
    order.set_xlabel("volume")
    order.set_ylabel("b-value (s/mm²)")
    order.xaxis.set_major_locator(MaxNLocator(integer=True))
    order.set_ylim(-0.06 * max(float(bvals.max()), 1.0), 1.12 * max(float(bvals.max()), 1.0))
    tidy_chart(order)
    for left, title in (
        (0.03, "q-space (faint: opposite points)"),
        (0.36, "Directions from above (equal area)"),
        (0.70, "Order of acquisition"),
    ):
        figure.text(left, 0.875, title, fontsize=11, fontweight="bold", color=INK)
    figure.legend(
        *order.get_legend_handles_labels(),
        loc="upper center", bbox_to_anchor=(0.5, 1.0), ncols=len(shell_bvals), frameon=False,
        title=None, fontsize=10, markerscale=1.6,
    )  # fmt: skip
    return save_figure(figure, out_file, dpi=120)


def _draw_q_space(
    axes: Axes3D,
    bvals: Float[np.ndarray, " volume"],
    bvecs_ras: Float[np.ndarray, "volume 3"],
    shell_index: Int[np.ndarray, " volume"],
) -> None:
    scale = np.sqrt(np.maximum(bvals, 0) / max(float(bvals.max()), 1.0))
    points = bvecs_ras * scale[:, None]
    colors = np.array([shell_color(int(shell)) for shell in shell_index])
    axes.scatter(*points.T, c=colors, s=16, alpha=1.0, depthshade=False)
    axes.scatter(*-points.T, c=colors, s=16, alpha=0.2, depthshade=False)
    for axis, (minus, plus) in enumerate((("L", "R"), ("P", "A"), ("I", "S"))):
        tip = np.zeros(3)
        tip[axis] = 1.25
        axes.plot(*np.stack([-tip, tip]).T, color=FAINT, linewidth=0.8)
        axes.text(*(tip * 1.12), plus, color=INK, fontsize=10, ha="center", va="center")
        axes.text(*(tip * -1.12), minus, color=INK, fontsize=10, ha="center", va="center")
    axes.set_box_aspect((1, 1, 1), zoom=1.25)
    axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), zlim=(-1.15, 1.15))
    axes.view_init(elev=20, azim=-60)
    axes.set_axis_off()


def _draw_hemisphere(
    axes: Axes, bvecs_ras: Float[np.ndarray, "volume 3"], shell_index: Int[np.ndarray, " volume"]
) -> None:
    """Fold directions to the upper hemisphere and flatten it, keeping areas (Lambert)."""
    for height in np.deg2rad([30, 60, 90]):
        axes.add_artist(_circle(2 * np.sin(height / 2)))
    reach = np.sqrt(2.0)
    axes.plot([-reach, reach], [0, 0], color="#e4e7eb", linewidth=0.8, zorder=0)
    axes.plot([0, 0], [-reach, reach], color="#e4e7eb", linewidth=0.8, zorder=0)
    weighted = shell_index > 0
    up = np.where(bvecs_ras[:, 2:] < 0, -bvecs_ras, bvecs_ras)[weighted]
    radius = np.sqrt(2.0 / (1.0 + up[:, 2]))  # Lambert azimuthal equal-area
    colors = [shell_color(int(shell)) for shell in shell_index[weighted]]
    axes.scatter(up[:, 0] * radius, up[:, 1] * radius, c=colors, s=22, edgecolors="white", lw=0.4)
    for x, y, letter in ((-1, 0, "L"), (1, 0, "R"), (0, 1, "A"), (0, -1, "P")):
        axes.text(1.1 * reach * x, 1.1 * reach * y, letter, ha="center", va="center", color=INK)
    axes.set(xlim=(-1.65, 1.65), ylim=(-1.65, 1.65), aspect="equal")
    axes.set_axis_off()


def _circle(radius: float) -> Circle:
    return Circle((0, 0), radius, fill=False, edgecolor="#cbd2d9", linewidth=0.8)
