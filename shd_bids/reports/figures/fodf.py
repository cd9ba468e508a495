"""Fibre orientation distributions over three planes, the models side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
from shd_bids.reports.figures.style import DARK, model_name, save_figure

_LONGEST = 0.6  # of a voxel: the lobe that most voxels stay below
_SIDE_IN, _GAP_IN, _HEAD_IN, _FOOT_IN = 2.1, 0.12, 0.36, 0.42


class _Row(NamedTuple):
    panels: list[Axes]
    locator: Axes


def plot_fodf(
    fodf_sh: Mapping[str, Float[np.ndarray, "x y z _"]],
    background: Float[np.ndarray, "x y z"],
    mask: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    regions: Sequence[Region],
    out_file: Path,
) -> Path:
    """Draw the fODFs of each model in the same voxels at the same scale, a row for each region.

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
    regions
        As given by ``choose_regions``.
    out_file
        ``.png``.

    Returns
    -------
    Path
        ``out_file``.
    """
    image, turned_affine = to_canonical(background, affine)
    inside, _ = to_canonical(mask, affine)
    turned = {label: to_canonical(volume, affine)[0] for label, volume in fodf_sh.items()}
    found = [
        {label: volume[region.box][inside[region.box]] for label, volume in turned.items()}
        for region in regions
    ]
    voxel_mm = np.linalg.norm(turned_affine[:3, :3], axis=0)
    scale = _LONGEST * float(voxel_mm.min()) / _typical_peak(found)
    steps = [voxel_mm[list(PLANE_AXES[region.plane][:2])] for region in regions]
    extents = [region.size * step for region, step in zip(regions, steps, strict=True)]
    figure, rows = _lay_out(len(turned), extents)
    greys = grey_range(image, inside)
    for region, step, row, models in zip(regions, steps, rows, found, strict=True):
        kept = inside[region.box].ravel()
        for axes, (label, coefficients) in zip(row.panels, models.items(), strict=True):
            _draw_panel(axes, image, region, step, greys)
            if kept.any():
                axes.add_collection(
                    glyph_polygons(
                        coefficients.astype(np.float32),
                        _centres(region, step)[kept],
                        draw_order(turned_affine, region.plane),
                        scale=scale,
                        subdivisions=4 if max(region.size) <= 8 else 3,
                    )
                )
            name = model_name(label)
            axes.set_title(name, fontsize=13, fontweight="bold", color="white", loc="left")
            mark_sides(axes, region.plane, size=12, all_sides=True)
        _draw_locator(row.locator, image, inside, turned_affine, region, greys)
    figure.text(
        0.08 / figure.get_figwidth(), 0.16 / figure.get_figheight(),
        "Boxes: where the panels beside them lie.",
        color="#ced4da", fontsize=9, va="bottom",
    )  # fmt: skip
    direction_legend(figure, y=0.002)
    return save_figure(figure, out_file, dpi=130 if len(turned) < 3 else 110, n_color=256)


def _typical_peak(found: Sequence[Mapping[str, Float[np.ndarray, "_ _"]]]) -> float:
    """Largest amplitude that 9 of 10 voxels stay below, over all regions and models."""
    directions, _ = sphere_faces(3)
    peaks = [
        sample_fodf(volume, directions).max(axis=1)
        for models in found
        for volume in models.values()
    ]
    pooled = np.concatenate(peaks)
    typical = float(np.percentile(pooled, 90)) if pooled.size else 1.0
    return typical if typical > 0 else 1.0


def _centres(region: Region, step: Float[np.ndarray, " 2"]) -> Float[np.ndarray, "voxel 2"]:
    """Centres of the voxels on the page, in the order of the flattened region."""
    columns, rows = np.meshgrid(
        np.arange(region.size[0]), np.arange(region.size[1]), indexing="ij"
    )  # the horizontal voxel axis comes before the vertical one in every plane
    return (np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) * step


def _lay_out(
    n_model: int, extents_mm: Sequence[Float[np.ndarray, " 2"]]
) -> tuple[Figure, list[_Row]]:
    """Place the panels of all models beside a narrow column with the locator, row by row."""
    panel_width = 5.7 if n_model < 3 else 4.3
    width = _SIDE_IN + _GAP_IN + n_model * (panel_width + _GAP_IN)
    heights = [max(panel_width * float(high / wide), _SIDE_IN) for wide, high in extents_mm]
    height = _FOOT_IN + sum(heights) + _HEAD_IN * len(heights)
    figure = Figure(figsize=(width, height), facecolor=DARK)
    rows = []
    top = height
    for (wide, high), row_height in zip(extents_mm, heights, strict=True):
        top -= _HEAD_IN
        panel_height = panel_width * float(high / wide)
        boxes = [
            (_SIDE_IN + _GAP_IN + order * (panel_width + _GAP_IN), panel_width, panel_height)
            for order in range(n_model)
        ]
        boxes.append((0.08, _SIDE_IN - 0.08, min(row_height, 2.4)))
        *panels, locator = (
            figure.add_axes((left / width, (top - tall) / height, across / width, tall / height))
            for left, across, tall in boxes
        )
        rows.append(_Row(panels, locator))
        top -= row_height
    return figure, rows


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
    through = PLANE_AXES[region.plane][2]
    width_mm, height_mm = window.extent_mm(region.plane)
    picture = window.cut(image, region.plane, region.index)
    axes.imshow(
        picture, origin="lower", cmap="gray", vmin=greys[0], vmax=greys[1],
        aspect=(height_mm / picture.shape[0]) / (width_mm / picture.shape[1]),
    )  # fmt: skip
    axes.add_patch(region.outline(window, linewidth=1.6))
    axes.set_axis_off()
    axes.set_anchor("N")
    mark_sides(axes, region.plane, size=8, all_sides=True)
    position = slice_position_mm(affine, image.shape, region.plane, region.index)
    axes.set_title(
        f"{region.plane}, {'xyz'[through]} = {position:.0f} mm", fontsize=10, color="white"
    )
