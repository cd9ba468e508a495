"""The surface of a brain mask as a small mesh, without a graphics library."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import affine_transform, gaussian_filter

_N_ACROSS = 44  # cells along the longest side of the brain: about 4 mm in an adult
_MARGIN = 3  # cells around it, so that the surface is closed


@dataclass(frozen=True)
class Mesh:
    """A closed surface.

    Attributes
    ----------
    corners
        RAS mm.
    normals
        Of unit length, outwards, one per corner.
    triangles
        Corners of each.
    """

    corners: Float[np.ndarray, "corner 3"]
    normals: Float[np.ndarray, "corner 3"]
    triangles: Int[np.ndarray, "triangle 3"]


def glass_brain(mask: Bool[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"]) -> Mesh:
    """Give the smooth surface of a mask by surface nets, on a coarse grid.

    Each cell of the grid that the surface passes gets one corner, at the mean of where it crosses
    the cell's edges [1]_; four cells about a crossed edge make a square.

    Parameters
    ----------
    mask
        Of the brain.
    affine
        Voxel to RAS millimetres.

    Returns
    -------
    Mesh
        Empty if the mask is.

    References
    ----------
    .. [1] Gibson, S. F. F. (1998). Constrained elastic surface nets. MICCAI, 888-898.

    Examples
    --------
    >>> ball = np.linalg.norm(np.indices((20, 20, 20)) - 9.5, axis=0) < 8
    >>> mesh = glass_brain(ball, np.eye(4))
    >>> bool(abs(np.linalg.norm(mesh.corners - 9.5, axis=1) - 7.9).max() < 0.7)
    True
    """
    if not mask.any():
        nowhere = np.zeros((0, 3))
        return Mesh(nowhere, nowhere, np.zeros((0, 3), dtype=np.int64))
    inside, low, cell_mm = _coarse(mask, affine)
    cells, places = _net(inside)
    numbers = np.full(np.array(inside.shape) - 1, -1)
    numbers[tuple(cells.T)] = np.arange(len(cells))
    slope = np.stack(np.gradient(inside), axis=-1)[tuple(np.rint(places).astype(int).T)]
    normals = -slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)
    return Mesh(low + cell_mm * places, normals, _triangles(inside, numbers))


def _coarse(
    mask: Bool[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"]
) -> tuple[Float[np.ndarray, "i j k"], Float[np.ndarray, " 3"], float]:
    """Bring a mask to cells along the RAS axes; give the place of the first, and their size."""
    brain = np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3]
    voxel_mm = np.linalg.norm(affine[:3, :3], axis=0)
    lowest, highest = brain.min(axis=0) - voxel_mm.max(), brain.max(axis=0) + voxel_mm.max()
    cell_mm = float((highest - lowest).max()) / _N_ACROSS
    low = lowest - _MARGIN * cell_mm
    shape = tuple(np.ceil((highest - low) / cell_mm).astype(int) + 1 + _MARGIN)
    back = np.linalg.inv(affine[:3, :3])
    smooth = gaussian_filter(mask.astype(np.float32), 0.5 * cell_mm / voxel_mm)
    inside = affine_transform(
        smooth, back * cell_mm, back @ (low - affine[:3, 3]), output_shape=shape, order=1
    )
    return gaussian_filter(inside, 0.6).astype(np.float64), low, cell_mm


def _net(
    inside: Float[np.ndarray, "i j k"],
) -> tuple[Int[np.ndarray, "cell 3"], Float[np.ndarray, "cell 3"]]:
    """Give the cells that the surface passes and, in cells, where its corner in each lies."""
    total = np.zeros((*(np.array(inside.shape) - 1), 3))
    count = np.zeros(total.shape[:3])
    offsets = np.indices((2, 2, 2)).reshape(3, -1).T
    for start in offsets:
        for axis in np.flatnonzero(start == 0):
            end = start + np.eye(3, dtype=int)[axis]
            a, b = (_shifted(inside, corner) for corner in (start, end))
            crossed = (a > 0.5) != (b > 0.5)
            share = np.where(crossed, (0.5 - a) / np.where(crossed, b - a, 1.0), 0.0)
            for other in range(3):
                total[..., other] += crossed * start[other]
            total[..., axis] += share
            count += crossed
    cells = np.argwhere(count > 0)
    passed = tuple(cells.T)
    return cells, cells + total[passed] / count[passed][:, None]


def _triangles(
    inside: Float[np.ndarray, "i j k"], numbers: Int[np.ndarray, "a b c"]
) -> Int[np.ndarray, "triangle 3"]:
    """Join the four cells about every crossed edge, seen from outside counter-clockwise."""
    found = [np.zeros((0, 3), dtype=np.int64)]
    full = inside > 0.5
    for axis in range(3):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3, dtype=int)
        before = full[tuple(slice(0, -1) if k == axis else slice(1, -1) for k in range(3))]
        after = full[tuple(slice(1, None) if k == axis else slice(1, -1) for k in range(3))]
        edges = np.argwhere(before != after)
        outward = before[tuple(edges.T)]
        edges = edges + 1 - step[axis]  # back to the indices of the grid
        around = [edges - step[one] - step[two], edges - step[two], edges, edges - step[one]]
        square = np.stack([numbers[tuple(cell.T)] for cell in around], axis=1)
        square[~outward] = square[~outward][:, ::-1]
        found += [square[:, [0, 1, 2]], square[:, [0, 2, 3]]]
    return np.concatenate(found)


def _shifted(
    values: Float[np.ndarray, "i j k"], corner: Int[np.ndarray, " 3"]
) -> Float[np.ndarray, "a b c"]:
    """Give the value at one corner of every cell."""
    return values[
        tuple(slice(int(k), n - 1 + int(k)) for k, n in zip(corner, values.shape, strict=True))
    ]
