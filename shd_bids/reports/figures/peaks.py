"""Peaks of the fODFs as line segments over whole slices, a row for each model."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from shd_bids.reports.figures.anatomy import (
    PLANE_AXES,
    Window,
    grey_range,
    mark_sides,
    show_window,
    slice_position_mm,
    to_canonical,
)
from shd_bids.reports.figures.glyphs import draw_order
from shd_bids.reports.figures.images import direction_legend
from shd_bids.reports.figures.region import Region
from shd_bids.reports.figures.style import DARK, model_name, save_figure
from shd_bids.reports.figures.views import direction_hue

_LONGEST = 0.95  # of a voxel: a segment of the largest peaks, which lies in the plane
_THICK = 0.22  # of a voxel
_WIDTH_IN, _GAP_IN, _HEAD_IN, _FOOT_IN = 14.0, 0.08, 0.36, 0.42
_PIXELS_A_VOXEL = 9
_DPI = (110, 200)


def plot_peaks(
    peaks: Mapping[str, Float[np.ndarray, "x y z component"]],
    background: Mapping[str, Float[np.ndarray, "x y z"]],
    mask: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    regions: Sequence[Region],
    out_file: Path,
) -> Path:
    """Draw each peak of a slice as a segment along its fibre, as long as the peak is high.

    Parameters
    ----------
    peaks
        By model label, the first on top: vectors in scanner (RAS) axes, three components a peak;
        NaN or 0 where there is none.
    background
        Grey image under the segments, by model label.
    mask
        Only voxels inside get segments.
    affine
        Voxel to RAS millimetres.
    regions
        Their slices are drawn whole, with the region marked.
    out_file
        ``.png``.

    Returns
    -------
    Path
        ``out_file``.
    """
    inside, turned_affine = to_canonical(mask, affine)
    window = show_window(inside, turned_affine)
    figure, rows = _lay_out(len(peaks), [window.extent_mm(region.plane) for region in regions])
    for panels, (label, image) in zip(rows, peaks.items(), strict=True):
        vectors = np.where(inside[..., None], to_canonical(np.nan_to_num(image), affine)[0], 0.0)
        vectors = vectors.reshape(*inside.shape, -1, 3)
        grey, _ = to_canonical(background[label], affine)
        greys = grey_range(grey, inside)
        longest = _typical_length(vectors)
        for axes, region in zip(panels, regions, strict=True):
            shown = window.cut(grey, region.plane, region.index)
            # Dark, so that the colours stand out.
            axes.imshow(
                shown, origin="lower", aspect="auto", cmap="gray", interpolation="nearest",
                vmin=greys[0], vmax=greys[0] + 3.2 * (greys[1] - greys[0]),
            )  # fmt: skip
            segments = _segments(vectors, window, region, turned_affine, longest)
            segments.set_linewidth(_THICK * 72 * figure.get_figwidth() * _voxel(axes, shown))
            axes.add_collection(segments)
            axes.add_patch(region.outline(window, linewidth=0.9))
            axes.set(xlim=(-0.5, shown.shape[1] - 0.5), ylim=(-0.5, shown.shape[0] - 0.5))
            mark_sides(axes, region.plane, size=11, all_sides=True)
            _name(axes, model_name(label), region, turned_affine, inside.shape)
    direction_legend(figure, y=0.002)
    n_voxel = sum(window.stop[axis] - window.start[axis] for axis in _across(regions))
    dpi = int(np.clip(_PIXELS_A_VOXEL * n_voxel / _WIDTH_IN, *_DPI))
    return save_figure(figure, out_file, dpi=dpi, n_color=256)


def _voxel(axes: Axes, shown: Float[np.ndarray, "row column"]) -> float:
    """Width of a voxel as a part of the page's."""
    return float(axes.get_position().width) / shown.shape[1]


def _across(regions: Sequence[Region]) -> list[int]:
    return [PLANE_AXES[region.plane][0] for region in regions]


def _lay_out(
    n_row: int, extents_mm: Sequence[tuple[float, float]]
) -> tuple[Figure, list[list[Axes]]]:
    """Place the slices of a row side by side at one scale."""
    room = _WIDTH_IN - _GAP_IN * (len(extents_mm) + 1)
    # Few slices of a thin volume are not blown up to the width of the page.
    inch_per_mm = min(room / sum(wide for wide, _ in extents_mm), 6.5 / max(extents_mm[0]))
    tallest = max(high for _, high in extents_mm) * inch_per_mm
    height = _FOOT_IN + n_row * (tallest + _HEAD_IN)
    figure = Figure(figsize=(_WIDTH_IN, height), facecolor=DARK)
    rows: list[list[Axes]] = []
    for row in range(n_row):
        top = height - row * (tallest + _HEAD_IN) - _HEAD_IN
        left, panels = _GAP_IN, []
        for wide, high in extents_mm:
            across, tall = wide * inch_per_mm, high * inch_per_mm
            box = (left / _WIDTH_IN, (top - tall) / height, across / _WIDTH_IN, tall / height)
            panels.append(figure.add_axes(box))
            panels[-1].set_axis_off()
            left += across + _GAP_IN
        rows.append(panels)
    return figure, rows


def _typical_length(vectors: Float[np.ndarray, "x y z peak 3"]) -> float:
    """Length that 19 of 20 first peaks stay below."""
    lengths = np.linalg.norm(vectors[..., 0, :], axis=-1)
    lengths = lengths[lengths > 0]
    return float(np.percentile(lengths, 95)) if lengths.size else 1.0


def _segments(
    vectors: Float[np.ndarray, "x y z peak 3"],
    window: Window,
    region: Region,
    affine: Float[np.ndarray, "4 4"],
    longest: float,
) -> LineCollection:
    """Make the segments of one slice in voxels of the window."""
    horizontal, vertical, _ = PLANE_AXES[region.plane]
    cut = window.cut(vectors, region.plane, region.index)  # (row, column, peak, 3)
    row, column, peak = np.nonzero(np.any(cut != 0, axis=-1))
    found = cut[row, column, peak]
    length = np.linalg.norm(found, axis=-1, keepdims=True)
    found = found / longest * np.minimum(1.0, longest / np.maximum(length, 1e-12))
    on_page = found @ draw_order(affine, region.plane).T
    voxel_mm = np.array(window.voxel_size_mm)[[horizontal, vertical]]
    half = 0.5 * _LONGEST * on_page[:, :2] * voxel_mm.min() / voxel_mm
    middle = np.stack([column, row], axis=-1).astype(float)
    ends = np.stack([middle - half, middle + half], axis=1)
    hue = direction_hue(found)  # of full brightness, as lines are thin
    return LineCollection(list(ends), colors=hue / np.maximum(hue.max(axis=1, keepdims=True), 1e-6))


def _name(
    axes: Axes,
    model: str,
    region: Region,
    affine: Float[np.ndarray, "4 4"],
    shape: tuple[int, ...],
) -> None:
    letter = "xyz"[PLANE_AXES[region.plane][2]]
    position = slice_position_mm(affine, shape, region.plane, region.index)
    axes.set_title(model, fontsize=13, fontweight="bold", color="white", loc="left")
    place = f"{region.plane}, {letter} = {position:.0f} mm"
    axes.set_title(place, fontsize=10, color="white", loc="right")
