"""Fibre orientation distributions over a slice, the models side by side."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from shd_bids.reports.figures.anatomy import (
    PLANE_AXES,
    grey_range,
    mark_sides,
    show_window,
    slice_position_mm,
    to_canonical,
)
from shd_bids.reports.figures.glyphs import draw_order, glyph_polygons, sample_fodf, sphere_faces
from shd_bids.reports.figures.images import direction_legend
from shd_bids.reports.figures.region import Region
from shd_bids.reports.figures.style import model_name, save_figure

_LONGEST = 0.6  # of a voxel: the lobe that most voxels stay below


def plot_fodf(
    fodf_sh: Mapping[str, Float[np.ndarray, "x y z _"]],
    background: Float[np.ndarray, "x y z"],
    mask: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    region: Region,
    out_file: Path,
) -> Path:
    """Draw the fODFs of each model in the same voxels at the same scale.

    Parameters
    ----------
    fodf_sh
        By model label, the first on the left: real even SH, MRtrix3 basis, scanner (RAS) axes.
    background
        Grey image under the glyphs: mean b=0, or total AFD.
    mask
        Only voxels inside get a glyph.
    affine
        Voxel to RAS millimetres.
    region
        As given by ``choose_region``.
    out_file
        ``.png``.

    Returns
    -------
    Path
        ``out_file``.
    """
    image, turned_affine = to_canonical(background, affine)
    inside, _ = to_canonical(mask, affine)
    found = {
        label: to_canonical(volume, affine)[0][region.box].reshape(-1, volume.shape[-1])
        for label, volume in fodf_sh.items()
    }
    kept = inside[region.box].ravel()
    voxel_mm = np.linalg.norm(turned_affine[:3, :3], axis=0)
    horizontal, vertical, _ = PLANE_AXES[region.plane]
    step = voxel_mm[[horizontal, vertical]]
    scale = _LONGEST * float(step.min()) / _typical_peak(found, kept)
    figure, panels, locator = _lay_out(len(found), region.size * step)
    greys = grey_range(image, inside)
    for axes, (label, coefficients) in zip(panels, found.items(), strict=True):
        _draw_panel(axes, image, region, step, greys)
        if kept.any():
            axes.add_collection(
                glyph_polygons(
                    coefficients[kept].astype(np.float32),
                    _centres(region, step)[kept],
                    draw_order(turned_affine, region.plane),
                    scale=scale,
                    subdivisions=4 if kept.sum() <= 300 else 3,
                )
            )
        axes.set_title(model_name(label), fontsize=13, fontweight="bold", color="white", loc="left")
        mark_sides(axes, region.plane, size=12, all_sides=True)
    _draw_locator(locator, image, inside, turned_affine, region, greys)
    n_shown = f"{region.size[0]} x {region.size[1]} voxels"
    figure.text(
        0.06 / figure.get_figwidth(), 0.62 / figure.get_figheight(),
        f"The box, {n_shown}:\nevery model in the same voxels,\nlobes at the same scale.",
        color="#ced4da", fontsize=9, va="bottom",
    )  # fmt: skip
    direction_legend(figure, y=0.002)
    return save_figure(figure, out_file, dpi=150 if len(found) < 3 else 110)


def _typical_peak(
    fodf_sh: Mapping[str, Float[np.ndarray, "voxel _"]], kept: Bool[np.ndarray, " voxel"]
) -> float:
    """Largest amplitude that 9 of 10 voxels stay below, over all models."""
    directions, _ = sphere_faces(3)
    peaks = [sample_fodf(volume[kept], directions).max(axis=1) for volume in fodf_sh.values()]
    pooled = np.concatenate(peaks)
    typical = float(np.percentile(pooled, 90)) if pooled.size else 1.0
    return typical if typical > 0 else 1.0


def _centres(region: Region, step: Float[np.ndarray, " 2"]) -> Float[np.ndarray, "voxel 2"]:
    """Centres of the voxels on the page, in the order of the flattened region."""
    columns, rows = np.meshgrid(
        np.arange(region.size[0]), np.arange(region.size[1]), indexing="ij"
    )  # the horizontal voxel axis comes before the vertical one in every plane
    return (np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) * step


def _lay_out(n_model: int, extent_mm: Float[np.ndarray, " 2"]) -> tuple[Figure, list[Axes], Axes]:
    """Place the panels in pairs beside a narrow column with the locator."""
    n_column = min(n_model, 2)
    n_row = -(-n_model // n_column)
    side, gap, head, foot = 2.1, 0.12, 0.36, 0.42
    width = 14.0
    panel_width = min((width - side - gap * (n_column + 1)) / n_column, 7.5)
    panel_height = panel_width * float(extent_mm[1] / extent_mm[0])
    width = side + gap + n_column * (panel_width + gap)
    height = foot + n_row * (panel_height + head)
    figure = Figure(figsize=(width, height), facecolor="black")
    panels = []
    for order in range(n_model):
        row, column = divmod(order, n_column)
        left = side + gap + column * (panel_width + gap)
        bottom = height - (row + 1) * (panel_height + head)
        panels.append(
            figure.add_axes(
                (left / width, bottom / height, panel_width / width, panel_height / height)
            )
        )
    locator = figure.add_axes(
        (0.08 / width, (height - head - 2.4) / height, side / width, 2.4 / height)
    )
    return figure, panels, locator


def _draw_panel(
    axes: Axes,
    image: Float[np.ndarray, "x y z"],
    region: Region,
    step: Float[np.ndarray, " 2"],
    greys: tuple[float, float],
) -> None:
    through = PLANE_AXES[region.plane][2]
    cut = np.squeeze(image[region.box], axis=through).T
    width, height = region.size * step
    axes.imshow(
        cut, origin="lower", extent=(0, width, 0, height), cmap="gray", interpolation="nearest",
        vmin=greys[0], vmax=greys[0] + 2.2 * (greys[1] - greys[0]),
    )  # fmt: skip
    axes.set(xlim=(0, width), ylim=(0, height), aspect="auto")
    axes.set_axis_off()


def _draw_locator(
    axes: Axes,
    image: Float[np.ndarray, "x y z"],
    inside: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    region: Region,
    greys: tuple[float, float],
) -> None:
    """Show the whole slice and where the region lies in it."""
    window = show_window(inside, affine)
    horizontal, vertical, through = PLANE_AXES[region.plane]
    width_mm, height_mm = window.extent_mm(region.plane)
    picture = window.cut(image, region.plane, region.index)
    axes.imshow(
        picture, origin="lower", cmap="gray", vmin=greys[0], vmax=greys[1],
        aspect=(height_mm / picture.shape[0]) / (width_mm / picture.shape[1]),
    )  # fmt: skip
    corner = (
        region.start[0] - window.start[horizontal] - 0.5,
        region.start[1] - window.start[vertical] - 0.5,
    )
    axes.add_patch(Rectangle(corner, *region.size, fill=False, edgecolor="#ffd43b", linewidth=1.6))
    axes.set_axis_off()
    axes.set_anchor("N")
    mark_sides(axes, region.plane, size=8, all_sides=True)
    position = slice_position_mm(affine, image.shape, region.plane, region.index)
    axes.set_title(
        f"{region.plane}, {'xyz'[through]} = {position:.0f} mm", fontsize=10, color="white"
    )
