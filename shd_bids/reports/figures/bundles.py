"""Bundles of known anatomy: where they run, and what the maps say along them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from shd_bids.reports.figures.style import INK, save_figure, tidy_chart
from shd_bids.reports.figures.tracts import draw_in_glass
from shd_bids.tractography.draw import EvenLines
from shd_bids.tractography.profiles import Profile
from shd_bids.tractography.streamlines import Streamlines

_MAP_NAMES = {
    "afd": "total apparent fibre density",
    "gfa": "generalised fractional anisotropy",
    "nufo": "number of fibre orientations",
    "rmse": "residual",
}
_N_PER_ROW = 9
_N_SPREAD = 10  # with more bundles, bands would hide each other
_LEGEND_ROW_IN = 0.24


def plot_bundles(
    bundles: Mapping[str, EvenLines],
    mask: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    out_file: Path,
) -> Path:
    """Draw bundles inside a glass brain in three views, each in a colour of its own.

    Parameters
    ----------
    bundles
        Streamlines in RAS millimetres by label; perhaps none.
    mask
        Of the brain; its surface is the glass.
    affine
        Voxel to RAS millimetres.
    out_file
        ``.png``.

    Returns
    -------
    Path
        ``out_file``.
    """
    palette = bundle_colors(bundles)
    shown = Streamlines.of(line for lines in bundles.values() for line in lines)
    colors = [palette[label] for label, lines in bundles.items() for _ in lines]
    figure = draw_in_glass(shown, mask, affine, colors=np.array(colors).reshape(-1, 3))
    _grow(figure, len(palette))
    handles = [Patch(color=color, label=label) for label, color in palette.items()]
    _legend(figure, handles, text_color="white")
    return save_figure(figure, out_file, dpi=140, n_color=256)


def plot_profiles(
    profiles: Mapping[str, Mapping[str, Profile]], starts: Mapping[str, str], out_file: Path
) -> Path:
    """Draw each map along each bundle: the weighted mean, and one standard deviation about it.

    Parameters
    ----------
    profiles
        By name of the map, then by label of the bundle.
    starts
        Where node 0 is, by label: left, posterior or inferior.
    out_file
        ``.svg`` or ``.png``.

    Returns
    -------
    Path
        ``out_file``.
    """
    labels = dict.fromkeys(label for by_bundle in profiles.values() for label in by_bundle)
    palette = bundle_colors(labels)
    n_column = min(2, max(1, len(profiles)))
    n_row = max(1, -(-len(profiles) // n_column))
    figure = Figure(figsize=(12.0, 2.9 * n_row), facecolor="white")
    panels = figure.subplots(n_row, n_column, squeeze=False).ravel()
    for axes, (name, by_bundle) in zip(panels, profiles.items(), strict=False):
        for label, profile in by_bundle.items():
            node = np.arange(len(profile.mean))
            axes.plot(node, profile.mean, color=palette[label], lw=1.6)
            if len(labels) <= _N_SPREAD:
                low, high = profile.mean - profile.std, profile.mean + profile.std
                axes.fill_between(node, low, high, color=palette[label], alpha=0.13, lw=0)
        axes.set_xlim(0, 99)
        axes.set_xlabel("node along the bundle")
        tidy_chart(axes, title=_MAP_NAMES.get(name, name))
    for axes in panels[len(profiles) :]:
        axes.set_axis_off()
    figure.tight_layout()
    _grow(figure, len(palette), n_per_row=5)
    handles = [
        Line2D([], [], color=color, lw=2, label=f"{label} (from {starts[label]})")
        for label, color in palette.items()
    ]
    _legend(figure, handles, text_color=INK, n_per_row=5)
    return save_figure(figure, out_file, dpi=110)


def bundle_colors(labels: Iterable[str]) -> dict[str, tuple[float, float, float]]:
    """Give each bundle a colour that shows on black and on white.

    Examples
    --------
    >>> list(bundle_colors(["AFL", "CC"]))
    ['AFL', 'CC']
    """
    labels = list(labels)
    if len(labels) <= 10:
        return {label: colormaps["tab10"](place)[:3] for place, label in enumerate(labels)}
    hues = colormaps["gist_rainbow"](np.linspace(0, 1, len(labels)))
    return {label: tuple(hue[:3]) for label, hue in zip(labels, hues, strict=True)}


def _grow(figure: Figure, n_label: int, n_per_row: int = _N_PER_ROW) -> None:
    """Make room at the foot for the rows of the legend, and leave the panels their size."""
    width, height = figure.get_size_inches()
    foot = _LEGEND_ROW_IN * -(-n_label // n_per_row)
    figure.set_size_inches(width, height + foot)
    for axes in figure.axes:
        box = axes.get_position()
        low, high = ((side * height + foot) / (height + foot) for side in (box.y0, box.y1))
        axes.set_position((box.x0, low, box.width, high - low))


def _legend(
    figure: Figure,
    handles: list[Patch] | list[Line2D],
    *,
    text_color: str,
    n_per_row: int = _N_PER_ROW,
) -> None:
    if handles:
        figure.legend(
            handles=handles, loc="lower center", ncols=min(n_per_row, len(handles)),
            frameon=False, labelcolor=text_color, fontsize=9, handlelength=1.4,
        )  # fmt: skip
    else:
        figure.text(0.5, 0.03, "no bundle was found", color=text_color, ha="center", fontsize=11)
