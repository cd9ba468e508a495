"""A black page of slices in rows, packed by their size in millimetres."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from shd_bids.reports.figures.anatomy import (
    PLANE_AXES,
    Window,
    mark_sides,
    show_window,
    slice_position_mm,
    spread_slices,
    to_canonical,
)
from shd_bids.reports.figures.style import DARK

N_SLICE = {"axial": 7, "coronal": 7, "sagittal": 5}
_GAP_IN, _STRIP_IN = 0.04, 0.3
_MIN_TILES = 4  # a row of fewer slices leaves room at its sides
_SIDE = 0.08  # room left and right of a slice for its letters, of the slice's width

Painter = Callable[[Axes, str, int], Any]


@dataclass(frozen=True)
class Row:
    """One row of slices.

    Attributes
    ----------
    plane
        ``axial``, ``coronal`` or ``sagittal``.
    indices
        Slices, in RAS voxel order.
    paint
        Draws one slice: called with the axes, the plane and the index.
    title
        Written above the row.
    """

    plane: str
    indices: tuple[int, ...]
    paint: Painter
    title: str = ""


@dataclass(frozen=True, eq=False)
class Stage:
    """The frame that all slices of a figure share.

    Attributes
    ----------
    mask
        In RAS order.
    affine
        Of the RAS order.
    window
        The part that is shown.
    """

    mask: Bool[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]
    window: Window

    @classmethod
    def around(cls, mask: Bool[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"]) -> "Stage":
        """Frame a mask given in the order of its file."""
        turned, matrix = to_canonical(mask, affine)
        return cls(turned, matrix, show_window(turned, matrix))

    def row(self, plane: str, paint: Painter, title: str = "") -> Row:
        """Spread slices of one plane through the mask."""
        return Row(plane, spread_slices(self.mask, plane, N_SLICE[plane]), paint, title)

    def rows(self, planes: Sequence[str], paint: Painter, title: str = "") -> list[Row]:
        """Give a row of each plane; the title stands above the first."""
        return [
            self.row(plane, paint, "" if order else title) for order, plane in enumerate(planes)
        ]

    def painter(self, volume: Shaped[np.ndarray, "x y z ..."], **options: Any) -> Painter:
        """Give what draws the slices of one volume; `show` takes the options."""

        def paint(axes: Axes, plane: str, index: int) -> None:
            self.show(axes, volume, plane, index, **options)

        return paint

    def show(
        self,
        axes: Axes,
        volume: Shaped[np.ndarray, "x y z ..."],
        plane: str,
        index: int,
        **options: Any,
    ) -> Any:
        """Draw one slice of a grey or colour volume in RAS order."""
        options.setdefault("interpolation", "nearest")
        image = self.window.cut(volume, plane, index)
        shown = axes.imshow(image, origin="lower", aspect="auto", **options)
        rows, columns = image.shape[:2]
        side = _SIDE * columns
        axes.set(xlim=(-0.5 - side, columns - 0.5 + side), ylim=(-0.5, rows - 0.5))
        return shown

    def outline(
        self, axes: Axes, mask: Bool[np.ndarray, "x y z"], plane: str, index: int, color: str
    ) -> None:
        """Draw the contour of a mask in RAS order over a slice."""
        image = np.pad(self.window.cut(mask, plane, index).astype(float), 1)
        if image.any():
            rows, columns = (np.arange(-1, length - 1) for length in image.shape)
            axes.contour(columns, rows, image, levels=[0.5], colors=[color], linewidths=1.1)

    def draw(
        self, rows: Sequence[Row], *, width_in: float = 12.0, footer_in: float = 0.0
    ) -> Figure:
        """Pack rows on a page; the foot stays free for a colour bar or a legend.

        Parameters
        ----------
        rows
            From top to bottom; a row of few slices is centred rather than blown up.
        width_in, footer_in
            Width of the page and height of its free foot, inches.

        Returns
        -------
        Figure
            With slices drawn, sides marked and positions written.
        """
        tiles = self._tile_sizes(rows, width_in)
        strips = [_STRIP_IN if row.title else 0.0 for row in rows]
        height_in = footer_in + sum(
            height + _GAP_IN + strip for (_, height), strip in zip(tiles, strips, strict=True)
        )
        figure = Figure(figsize=(width_in, height_in), facecolor=DARK)
        top = height_in
        for row, (width, height), strip in zip(rows, tiles, strips, strict=True):
            figure.text(
                0.008, (top - 0.5 * strip) / height_in, row.title,
                color="white", fontsize=13, va="center",
            )  # fmt: skip
            top -= strip
            left = (width_in - len(row.indices) * (width + _GAP_IN) + _GAP_IN) / 2
            for order, index in enumerate(row.indices):
                start = left + order * (width + _GAP_IN)
                box = (
                    start / width_in, (top - height) / height_in,
                    width / width_in, height / height_in,
                )  # fmt: skip
                self._draw_tile(figure.add_axes(box), row, index)
            top -= height + _GAP_IN
        return figure

    def _tile_sizes(self, rows: Sequence[Row], width_in: float) -> list[tuple[float, float]]:
        sizes = [self.window.extent_mm(row.plane) for row in rows]
        counts = [max(len(row.indices), _MIN_TILES) for row in rows]
        extents = [((1 + 2 * _SIDE) * width, height) for width, height in sizes]
        scales = [
            (width_in - _GAP_IN * (n_tile - 1)) / (n_tile * extent[0])
            for n_tile, extent in zip(counts, extents, strict=True)
        ]
        limit = 1.25 * min(scales)
        return [
            (extent[0] * min(scale, limit), extent[1] * min(scale, limit))
            for extent, scale in zip(extents, scales, strict=True)
        ]

    def _draw_tile(self, axes: Axes, row: Row, index: int) -> None:
        axes.set_axis_off()
        row.paint(axes, row.plane, index)
        mark_sides(axes, row.plane, size=11)
        position = slice_position_mm(self.affine, self.mask.shape, row.plane, index)
        letter = "xyz"[PLANE_AXES[row.plane][2]]
        axes.text(
            0.02, 0.02, f"{letter} = {round(position)} mm",
            color="#ced4da", fontsize=9, transform=axes.transAxes, va="bottom",
            path_effects=[withStroke(linewidth=2, foreground="black")],
        )  # fmt: skip
