"""Response functions: how the signal of one fibre depends on direction and b-value."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import eval_legendre

from shd_bids.reports.figures.style import (
    FAINT,
    INK,
    TISSUE_COLORS,
    TISSUE_NAMES,
    save_figure,
    shell_color,
    shell_label,
    tidy_chart,
)


def plot_responses(
    shell_bvals: Float[np.ndarray, " shell"],
    coefficients: Mapping[str, Float[np.ndarray, "shell _"]],
    out_file: Path,
) -> Path:
    """Draw the white matter response as shape and curve, and the decay of every tissue with b.

    Parameters
    ----------
    shell_bvals
        Ascending, b=0 first, s/mm².
    coefficients
        By tissue label: zonal SH coefficients per shell in MRtrix3's scale (an isotropic signal
        ``S`` has ``c0 = S sqrt(4 pi)``), in scanner units. ``WM`` must be there; the number of
        degrees may differ between tissues.
    out_file
        ``.svg`` or ``.png``.

    Returns
    -------
    Path
        ``out_file``.
    """
    figure = Figure(figsize=(12, 3.9), facecolor="white")
    shape = figure.add_axes((0.02, 0.165, 0.27, 0.655))
    curve = figure.add_axes((0.37, 0.165, 0.26, 0.655))
    decay = figure.add_axes((0.715, 0.165, 0.27, 0.655))
    angles_deg = np.linspace(0.0, 360.0, 361)
    signals = zonal_signal(coefficients["WM"], angles_deg)
    _draw_shape(shape, angles_deg, signals)
    for shell, bval in enumerate(shell_bvals):
        curve.plot(
            angles_deg[:91],
            signals[shell, :91],
            color=shell_color(shell),
            label=shell_label(bval),
            lw=1.8,
        )
    curve.set_xlabel("angle to the fibre (degrees)")
    curve.set_ylabel("signal (scanner units)")
    curve.set_xlim(0, 90)
    curve.set_xticks([0, 30, 60, 90])
    curve.set_ylim(bottom=0)
    tidy_chart(curve, title="White matter, by angle")
    _draw_decay(decay, shell_bvals, coefficients)
    handles, labels = curve.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="upper left", bbox_to_anchor=(0.01, 1.0), ncols=len(labels),
        frameon=False, fontsize=10,
    )  # fmt: skip
    return save_figure(figure, out_file, dpi=120)


def zonal_signal(
    coefficients: Float[np.ndarray, "shell degree"], angles_deg: Float[np.ndarray, " angle"]
) -> Float[np.ndarray, "shell angle"]:
    """Evaluate zonal coefficients of degree 0, 2, 4, ... at angles to the fibre.

    Examples
    --------
    >>> zonal_signal(np.array([[np.sqrt(4 * np.pi), 0.0]]), np.array([0.0, 45.0]))
    array([[1., 1.]])
    """
    degrees = 2 * np.arange(coefficients.shape[1])
    cosine = np.cos(np.deg2rad(angles_deg))
    basis = np.stack(
        [
            np.sqrt((2 * degree + 1) / (4 * np.pi)) * eval_legendre(degree, cosine)
            for degree in degrees
        ]
    )  # (degree, angle)
    return coefficients @ basis


def _draw_shape(
    axes: Axes, angles_deg: Float[np.ndarray, " angle"], signals: Float[np.ndarray, "shell angle"]
) -> None:
    """Draw the signal as the distance from the centre; the fibre runs up the page."""
    turn = np.deg2rad(angles_deg)
    reach = float(np.abs(signals).max())
    for shell, signal in enumerate(signals):
        x, y = signal * np.sin(turn) / reach, signal * np.cos(turn) / reach
        axes.fill(x, y, color=shell_color(shell), alpha=0.18 if shell else 0.08, lw=0)
        axes.plot(x, y, color=shell_color(shell), lw=1.6)
    axes.annotate(
        "", xy=(0, 1.22), xytext=(0, -1.22),
        arrowprops={"arrowstyle": "<->", "color": INK, "lw": 0.9},
    )  # fmt: skip
    axes.text(0.05, 1.1, "fibre", fontsize=9, color=INK)
    axes.axhline(0, color=FAINT, lw=0.5, zorder=0)
    axes.set_ylim(-1.25, 1.25)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_axis_off()
    axes.set_title(
        "White matter, as a shape", loc="left", fontsize=11, fontweight="bold", color=INK
    )


def _draw_decay(
    axes: Axes,
    shell_bvals: Float[np.ndarray, " shell"],
    coefficients: Mapping[str, Float[np.ndarray, "shell _"]],
) -> None:
    lowest = np.inf
    for tissue, rows in coefficients.items():
        mean = rows[:, 0] / np.sqrt(4.0 * np.pi)
        axes.plot(
            shell_bvals, mean, marker="o", ms=5, lw=1.6,
            color=TISSUE_COLORS[tissue], label=TISSUE_NAMES[tissue],
        )  # fmt: skip
        lowest = min(lowest, float(mean.min()))
    if lowest > 0:
        axes.set_yscale("log")
    axes.set_xlabel("b-value (s/mm²)")
    axes.set_ylabel("mean signal (scanner units)")
    axes.legend(frameon=False, fontsize=9)
    tidy_chart(axes, title="Mean over directions, by tissue")
