"""Which small piece of a brain shows fibre orientations best."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.patches import Rectangle
from scipy.ndimage import uniform_filter

from shd_bids.reports.figures.anatomy import PLANE_AXES, Window, to_canonical

_STRIP = 4  # times smaller than the largest region: too thin to show anything


@dataclass(frozen=True)
class Region:
    """A rectangle of voxels in one slice, in RAS voxel order.

    Attributes
    ----------
    plane
        ``axial``, ``coronal`` or ``sagittal``.
    index
        The slice.
    start
        First voxel to the right and upwards on the page.
    size
        Voxels to the right and upwards.
    """

    plane: str
    index: int
    start: tuple[int, int]
    size: tuple[int, int]

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Slices that cut the region out of a volume in RAS order."""
        horizontal, vertical, through = PLANE_AXES[self.plane]
        box = [slice(0)] * 3
        box[horizontal] = slice(self.start[0], self.start[0] + self.size[0])
        box[vertical] = slice(self.start[1], self.start[1] + self.size[1])
        box[through] = slice(self.index, self.index + 1)
        return box[0], box[1], box[2]

    def outline(self, window: Window, *, linewidth: float) -> Rectangle:
        """Make the frame of the region over its whole slice, in voxels of the window."""
        horizontal, vertical, _ = PLANE_AXES[self.plane]
        corner = (
            self.start[0] - window.start[horizontal] - 0.5,
            self.start[1] - window.start[vertical] - 0.5,
        )
        return Rectangle(corner, *self.size, fill=False, edgecolor="#ffd43b", linewidth=linewidth)


def choose_regions(
    fodf_sh: Float[np.ndarray, "x y z coef"],
    nufo: Int[np.ndarray, "x y z"] | Float[np.ndarray, "x y z"],
    mask: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    *,
    size: int = 24,
) -> tuple[Region, ...]:
    """Choose the rectangle with most crossing fibres in each plane.

    Voxels weigh by the power that they share with their neighbours, so that noise outside white
    matter does not win, and the middle of the white matter is preferred to its rim.

    Parameters
    ----------
    fodf_sh
        Of the model that is scored.
    nufo
        Number of fibre orientations of the same model.
    mask
        Of the brain.
    affine
        Voxel to RAS millimetres.
    size
        Voxels along each side, less when the volume is smaller.

    Returns
    -------
    tuple[Region, ...]
        Axial, coronal and sagittal, in RAS voxel order; a plane across a thin volume, which would
        show a strip, is left out.
    """
    inside, _ = to_canonical(mask, affine)
    number, _ = to_canonical(nufo, affine)
    power, _ = to_canonical(_coherent_power(fodf_sh), affine)
    power = np.where(inside, power, 0.0)
    ceiling = float(np.percentile(power[inside], 95)) if inside.any() else 0.0
    weight = np.clip(power / ceiling, 0.0, 1.0) if ceiling > 0 else np.ones(power.shape)
    crossing = np.select([(number == 2) | (number == 3), number > 3], [1.0, 0.6], default=0.3)
    score = weight * crossing * _middle(weight)
    regions = [_fullest(score, plane, size) for plane in PLANE_AXES]
    largest = max(region.size[0] * region.size[1] for region in regions)
    return tuple(each for each in regions if _STRIP * each.size[0] * each.size[1] >= largest)


def _fullest(score: Float[np.ndarray, "x y z"], plane: str, size: int) -> Region:
    """Place a rectangle in one plane where it holds most of the score."""
    horizontal, vertical, through = PLANE_AXES[plane]
    sides = (min(size, score.shape[horizontal]), min(size, score.shape[vertical]))
    kernel = [1, 1, 1]
    kernel[horizontal], kernel[vertical] = sides
    mean = uniform_filter(score, size=kernel, mode="constant")
    centre = np.unravel_index(int(np.argmax(mean)), mean.shape)
    start = [
        int(np.clip(centre[axis] - side // 2, 0, score.shape[axis] - side))
        for axis, side in zip((horizontal, vertical), sides, strict=True)
    ]
    return Region(plane, int(centre[through]), (start[0], start[1]), sides)


def _coherent_power(fodf_sh: Float[np.ndarray, "x y z coef"]) -> Float[np.ndarray, "x y z"]:
    """Power of degree 4, which crossings keep, after a mean over neighbours, which noise loses."""
    degree = fodf_sh[..., 6:15] if fodf_sh.shape[-1] >= 15 else fodf_sh[..., 1:6]
    total = np.zeros(fodf_sh.shape[:3])
    for order in range(degree.shape[-1]):
        total += uniform_filter(degree[..., order].astype(np.float32), size=3) ** 2
    return np.sqrt(total)


def _middle(weight: Float[np.ndarray, "x y z"]) -> Float[np.ndarray, "x y z"]:
    """Fall from 1 at the centre of mass to about 0.1 at two standard deviations from it."""
    total = float(weight.sum())
    fall = np.ones(weight.shape)
    for axis, length in enumerate(weight.shape):
        others = tuple(other for other in range(3) if other != axis)
        mass = weight.sum(axis=others) / total if total > 0 else np.full(length, 1 / length)
        position = np.arange(length)
        centre = float(mass @ position)
        spread = max(float(np.sqrt(mass @ (position - centre) ** 2)), 1.0)
        shape = [1, 1, 1]
        shape[axis] = length
        fall = fall * np.exp(-0.6 * ((position - centre) / spread) ** 2).reshape(shape)
    return fall
