"""Where is left: slices of a volume in anatomical order.

Every picture is drawn in neurological convention (the left of the brain is on the left of the
page) after the voxel axes have been permuted and flipped to the closest RAS order. Nothing is
resampled: an oblique image is shown in its own planes, with the true aspect of its voxels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float, Shaped
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

#: Voxel axes of each plane: horizontal on the page, vertical on the page, through the page.
PLANE_AXES = {"axial": (0, 1, 2), "coronal": (0, 2, 1), "sagittal": (1, 2, 0)}
AXIS_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))


@dataclass(frozen=True)
class Window:
    """The box of voxels that is shown, in RAS order.

    Attributes
    ----------
    start, stop
        First voxel of each axis and the one after the last.
    voxel_size_mm
        Edge lengths of a voxel.
    """

    start: tuple[int, int, int]
    stop: tuple[int, int, int]
    voxel_size_mm: tuple[float, float, float]

    def cut(
        self, volume: Shaped[np.ndarray, "x y z ..."], plane: str, index: int
    ) -> Shaped[np.ndarray, "row column ..."]:
        """Take one slice, rows upwards and columns to the right."""
        through = PLANE_AXES[plane][2]
        box: list[slice | int] = [
            slice(first, last) for first, last in zip(self.start, self.stop, strict=True)
        ]
        box[through] = index
        return np.swapaxes(volume[tuple(box)], 0, 1)

    def extent_mm(self, plane: str) -> tuple[float, float]:
        """Width and height of a slice."""
        horizontal, vertical, _ = PLANE_AXES[plane]
        size = [
            (last - first) * voxel
            for first, last, voxel in zip(self.start, self.stop, self.voxel_size_mm, strict=True)
        ]
        return size[horizontal], size[vertical]


def to_canonical(
    data: Shaped[np.ndarray, "x y z ..."], affine: Float[np.ndarray, "4 4"]
) -> tuple[np.ndarray, np.ndarray]:
    """Permute and flip the voxel axes to the order closest to RAS.

    Parameters
    ----------
    data
        Volume, or several along further axes.
    affine
        Voxel to RAS millimetres.

    Returns
    -------
    tuple[np.ndarray, np.ndarray]
        The same voxels in RAS order, and their affine.

    Examples
    --------
    >>> volume, affine = to_canonical(np.zeros((2, 3, 4)), np.diag([-1.0, 1.0, 1.0, 1.0]))
    >>> volume.shape, float(affine[0, 3])
    ((2, 3, 4), -1.0)
    """
    orientation = nib.orientations.io_orientation(affine)
    turned = nib.orientations.apply_orientation(data, orientation)
    matrix = affine @ nib.orientations.inv_ornt_aff(orientation, data.shape[:3])
    return turned, matrix


def show_window(
    mask: Bool[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"], *, margin: int = 2
) -> Window:
    """Frame a mask with a margin of a few voxels; an empty mask shows the whole volume."""
    voxel_size = np.linalg.norm(affine[:3, :3], axis=0)
    found = np.argwhere(mask) if mask.any() else np.argwhere(np.ones_like(mask))
    start = np.maximum(found.min(axis=0) - margin, 0)
    stop = np.minimum(found.max(axis=0) + 1 + margin, mask.shape)
    return Window(
        (int(start[0]), int(start[1]), int(start[2])),
        (int(stop[0]), int(stop[1]), int(stop[2])),
        (float(voxel_size[0]), float(voxel_size[1]), float(voxel_size[2])),
    )


def spread_slices(mask: Bool[np.ndarray, "x y z"], plane: str, n_slice: int) -> tuple[int, ...]:
    """Choose slices evenly through a mask, away from its thin ends.

    Examples
    --------
    >>> spread_slices(np.ones((4, 4, 9), dtype=bool), "axial", 3)
    (1, 4, 7)
    """
    through = PLANE_AXES[plane][2]
    others = tuple(axis for axis in range(3) if axis != through)
    filled = np.flatnonzero(mask.any(axis=others))
    if filled.size == 0:
        filled = np.arange(mask.shape[through])
    positions = filled[0] + (np.arange(n_slice) + 0.5) / n_slice * (filled[-1] - filled[0])
    return tuple(int(index) for index in np.unique(np.round(positions).astype(int)))


def slice_position_mm(
    affine: Float[np.ndarray, "4 4"], shape: tuple[int, ...], plane: str, index: int
) -> float:
    """World coordinate of the middle of a slice, along the axis that it cuts."""
    centre = (np.asarray(shape[:3], dtype=float) - 1) / 2
    through = PLANE_AXES[plane][2]
    centre[through] = index
    return float((affine[:3, :3] @ centre + affine[:3, 3])[through])


def mark_sides(axes: Axes, plane: str, *, size: int = 9, all_sides: bool = False) -> None:
    """Write the anatomical letters at the left and right of a slice, or at all four edges."""
    horizontal, vertical, _ = PLANE_AXES[plane]
    (left, right), (bottom, top) = AXIS_LETTERS[horizontal], AXIS_LETTERS[vertical]
    style: dict[str, Any] = {
        "color": "white",
        "fontsize": size,
        "fontweight": "bold",
        "transform": axes.transAxes,
        "path_effects": [withStroke(linewidth=2.5, foreground="black")],
    }
    axes.text(0.015, 0.5, left, ha="left", va="center", **style)
    axes.text(0.985, 0.5, right, ha="right", va="center", **style)
    if all_sides:
        axes.text(0.5, 0.985, top, ha="center", va="top", **style)
        axes.text(0.5, 0.015, bottom, ha="center", va="bottom", **style)


def grey_range(
    volume: Float[np.ndarray, "*axes"], inside: Bool[np.ndarray, "*axes"], *, upper: float = 99.5
) -> tuple[float, float]:
    """Choose a grey level window for the voxels inside, never of zero width.

    Examples
    --------
    >>> grey_range(np.ones((2, 2, 2)), np.ones((2, 2, 2), dtype=bool))
    (0.0, 1.0)
    """
    values = volume[inside & np.isfinite(volume)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = min(0.0, float(np.percentile(values, 1))), float(np.percentile(values, upper))
    return low, high if high > low else low + 1.0


def anywhere_nonzero(volumes: Mapping[str, np.ndarray]) -> Bool[np.ndarray, "x y z"]:
    """Mark the voxels where at least one of the volumes is not zero."""
    found = [
        np.any(volume.reshape(*volume.shape[:3], -1) != 0, axis=-1) for volume in volumes.values()
    ]
    return np.logical_or.reduce(found)
