"""Volumes as rows of slices: selected voxels, maps, fractions, colour-coded directions."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from shd_bids.reports.figures.anatomy import anywhere_nonzero, grey_range, to_canonical
from shd_bids.reports.figures.mosaic import Row, Stage
from shd_bids.reports.figures.style import (
    TISSUE_COLORS,
    TISSUE_NAMES,
    model_name,
    save_figure,
)

Volume = Float[np.ndarray, "x y z"]
Mask = Bool[np.ndarray, "x y z"]
Affine = Float[np.ndarray, "4 4"]
BAR_FOOTER_IN = 0.62


def plot_voxel_selection(
    background: Volume, voxels: Mapping[str, Mask], affine: Affine, out_file: Path
) -> Path:
    """Colour the voxels that the response of each tissue was measured in.

    Parameters
    ----------
    background
        Mean b=0 image; zero outside the brain frames the picture best.
    voxels
        Selected voxels by tissue label (``WM``, ``GM``, ``CSF``).
    affine
        Voxel to RAS millimetres.
    out_file
        ``.png`` or ``.svg``.

    Returns
    -------
    Path
        ``out_file``.
    """
    stage = Stage.around(background > 0, affine)
    image, _ = to_canonical(background, affine)
    low, high = grey_range(image, stage.mask, upper=99.8)
    grey = np.repeat(np.clip((image - low) / (high - low), 0, 1)[..., None] * 0.75, 3, axis=-1)
    chosen = np.zeros(stage.mask.shape, dtype=bool)
    for tissue, found in voxels.items():
        turned, _ = to_canonical(found, affine)
        grey[turned] = _bright(TISSUE_COLORS[tissue])
        chosen |= turned

    rows = [
        Row(plane, _fullest_slices(chosen, axis, 7), stage.painter(grey))
        for plane, axis in (("axial", 2), ("coronal", 1))
    ]
    figure = stage.draw(rows, footer_in=0.4)
    handles = [
        Patch(
            color=_bright(TISSUE_COLORS[tissue]),
            label=f"{TISSUE_NAMES[tissue]}: {_count(found)}",
        )
        for tissue, found in voxels.items()
    ]
    _legend(figure, handles)
    return save_figure(figure, out_file)


def plot_residual(rmse: Mapping[str, Volume], mask: Mask, affine: Affine, out_file: Path) -> Path:
    """Draw the residual of each model with one colour scale.

    Parameters
    ----------
    rmse
        By model label: root mean squared residual over the volumes, divided by the b=0 signal of
        the white matter response.
    mask
        Of the brain.
    affine
        Voxel to RAS millimetres.
    out_file
        ``.png`` or ``.svg``.

    Returns
    -------
    Path
        ``out_file``.
    """
    percent = {model_name(label): 100 * volume for label, volume in rmse.items()}
    titles = {
        name: f"{name}   median {np.median(volume[mask]):.2f} %" if mask.any() else name
        for name, volume in percent.items()
    }
    return plot_maps(
        {titles[name]: volume for name, volume in percent.items()}, mask, affine, out_file,
        label="root mean squared residual (% of the white matter response at b = 0)",
        cmap="inferno", upper=95.0,
    )  # fmt: skip


def plot_maps(
    maps: Mapping[str, Volume],
    mask: Mask,
    affine: Affine,
    out_file: Path,
    *,
    label: str,
    planes: Sequence[str] = ("axial", "coronal"),
    cmap: str = "gray",
    upper: float = 99.5,
    value_range: tuple[float, float] | None = None,
) -> Path:
    """Draw maps of one quantity, each under its title, with one scale and one colour bar.

    Parameters
    ----------
    maps
        By the title of their first row.
    mask
        What is outside stays black.
    affine
        Voxel to RAS millimetres.
    out_file
        ``.png`` or ``.svg``.
    label
        Quantity and unit, under the colour bar.
    planes
        Rows per map.
    cmap
        Matplotlib's name of the colour map.
    upper
        Percentile of the voxels inside that gets the last colour.
    value_range
        First and last colour instead, in the unit of the maps.

    Returns
    -------
    Path
        ``out_file``.
    """
    stage = Stage.around(mask, affine)
    turned = {
        title: np.where(stage.mask, to_canonical(volume, affine)[0], 0.0)
        for title, volume in maps.items()
    }
    pooled = np.stack(list(turned.values()))
    inside = np.broadcast_to(stage.mask, pooled.shape)
    low, high = value_range or grey_range(pooled, inside, upper=upper)
    options = {"cmap": cmap, "vmin": low, "vmax": high}
    rows = [
        row
        for title, volume in turned.items()
        for row in stage.rows(planes, stage.painter(volume, **options), title)
    ]
    figure = stage.draw(rows, footer_in=BAR_FOOTER_IN)
    color_bar(figure, ScalarMappable(Normalize(low, high), cmap), label)
    return save_figure(figure, out_file)


def plot_fractions(
    fractions: Mapping[str, Volume], mask: Mask, affine: Affine, out_file: Path
) -> Path:
    """Draw the volume fraction of each tissue between 0 and 1.

    Parameters
    ----------
    fractions
        By tissue label; a tissue that the model lacks is left out.
    mask
        Of the brain.
    affine
        Voxel to RAS millimetres.
    out_file
        ``.png`` or ``.svg``.

    Returns
    -------
    Path
        ``out_file``.
    """
    maps = {TISSUE_NAMES[tissue]: volume for tissue, volume in fractions.items()}
    return plot_maps(
        maps, mask, affine, out_file,
        label="volume fraction", planes=("axial",), value_range=(0.0, 1.0),
    )  # fmt: skip


def plot_dec(
    dec: Mapping[str, Float[np.ndarray, "x y z rgb"]], affine: Affine, out_file: Path
) -> Path:
    """Draw the directionally encoded colour map of each model with one brightness scale.

    Parameters
    ----------
    dec
        By model label; red, green, blue for left-right, front-back, up-down (scanner axes), of
        any scale.
    affine
        Voxel to RAS millimetres.
    out_file
        ``.png`` or ``.svg``.

    Returns
    -------
    Path
        ``out_file``.
    """
    mask = anywhere_nonzero(dec)
    stage = Stage.around(mask, affine)
    turned = {label: to_canonical(volume, affine)[0] for label, volume in dec.items()}
    norm = np.stack([np.linalg.norm(volume, axis=-1) for volume in turned.values()])
    _, high = grey_range(norm, np.broadcast_to(stage.mask, norm.shape), upper=99.0)
    rows = [
        row
        for label, volume in turned.items()
        for row in stage.rows(
            ("axial", "coronal"), stage.painter(np.clip(volume / high, 0, 1)), model_name(label)
        )
    ]
    figure = stage.draw(rows, footer_in=0.4)
    direction_legend(figure)
    return save_figure(figure, out_file)


def direction_legend(figure: Figure, *, text_color: str = "white", y: float = 0.0) -> None:
    """Say at the foot of a page which colour stands for which direction."""
    handles = [
        Patch(color=color, label=label)
        for color, label in (
            ("#ff0000", "left - right"),
            ("#00c800", "front - back"),
            ("#2040ff", "up - down"),
        )
    ]
    _legend(figure, handles, text_color=text_color, y=y)


def _legend(
    figure: Figure, handles: Sequence[Patch], *, text_color: str = "white", y: float = 0.0
) -> None:
    figure.legend(
        handles=list(handles), loc="lower center", bbox_to_anchor=(0.5, y), ncols=len(handles),
        frameon=False, labelcolor=text_color, fontsize=10, handlelength=1.2, handleheight=1.0,
    )  # fmt: skip


def color_bar(figure: Figure, colors: ScalarMappable, label: str) -> None:
    """Draw a scale of colours at the foot of a page, which `BAR_FOOTER_IN` leaves free."""
    height = figure.get_figheight()
    axes = figure.add_axes((0.3, 0.42 / height, 0.4, 0.12 / height))
    bar = figure.colorbar(colors, cax=axes, orientation="horizontal")
    bar.set_label(label, color="white", fontsize=9, labelpad=1)
    bar.ax.tick_params(colors="white", labelsize=8, pad=1, length=2)
    bar.outline.set_edgecolor("white")


def _fullest_slices(mask: Mask, axis: int, n_slice: int) -> tuple[int, ...]:
    """Choose the slices that show most of a sparse mask, at least two apart."""
    counts = mask.sum(axis=tuple(other for other in range(3) if other != axis)).astype(float)
    spacing = max(1, int(np.count_nonzero(counts) / (2 * n_slice)))
    picked: list[int] = []
    for index in np.argsort(-counts, kind="stable"):
        if len(picked) == n_slice or (picked and counts[index] == 0):
            break
        if all(abs(int(index) - other) >= spacing for other in picked):
            picked.append(int(index))
    return tuple(sorted(picked))


def _count(mask: Mask) -> str:
    number = int(mask.sum())
    return "1 voxel" if number == 1 else f"{number} voxels"


def _bright(color: str) -> tuple[float, float, float]:
    red, green, blue = to_rgb(color)
    peak = max(red, green, blue)
    return red / peak, green / peak, blue / peak
