"""The corrected series: every volume interpolated once, by all that displaced it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from nibabel.affines import voxel_sizes
from scipy.ndimage import map_coordinates

from .transforms import PhaseEncoding, VolumeTransforms, resample_volume, voxel_matrix


def output_grid(
    affine: Float[np.ndarray, "4 4"], shape: tuple[int, int, int], resolution_mm: float
) -> tuple[Float[np.ndarray, "4 4"], tuple[int, int, int]]:
    """Lay out an isotropic grid with the axes and the field of view of another, about its centre.

    Parameters
    ----------
    affine, shape
        Of the other grid.
    resolution_mm
        Edge of the new voxels.

    Returns
    -------
    affine, shape
        Of the new grid.

    Examples
    --------
    >>> output_grid(np.diag([2.0, 2.0, 4.0, 1.0]), (10, 10, 5), 1.0)[1]
    (20, 20, 20)
    """
    edges = voxel_sizes(affine)
    x, y, z = (max(round(n * e / resolution_mm), 1) for n, e in zip(shape, edges, strict=True))
    finer = affine.copy()
    finer[:3, :3] *= resolution_mm / edges
    centre = affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
    finer[:3, 3] = centre - finer[:3, :3] @ ((np.array([x, y, z]) - 1) / 2)
    return finer, (x, y, z)


def resample_series(
    dwi: Float[np.ndarray, "x y z volume"],
    affine: Float[np.ndarray, "4 4"],
    transforms: VolumeTransforms,
    encodings: Sequence[PhaseEncoding],
    *,
    field_hz: Float[np.ndarray, "x y z"] | None = None,
    resolution_mm: float | None = None,
) -> tuple[Float[np.ndarray, "i j k volume"], Float[np.ndarray, "4 4"]]:
    """Correct a series for head motion, eddy currents and distortion in one interpolation.

    Parameters
    ----------
    dwi
        Scanner units, as acquired.
    affine
        Voxel-to-world matrix, RAS+ mm.
    transforms, encodings
        Of each volume.
    field_hz
        Off-resonance on the grid of the series; none by default.
    resolution_mm
        Of an isotropic output; the grid stays as it is by default.

    Returns
    -------
    dwi
        Corrected, 0 or more.
    affine
        Of its grid.
    """
    shape = (dwi.shape[0], dwi.shape[1], dwi.shape[2])
    out_affine, out_shape = affine, shape
    if resolution_mm is not None:
        out_affine, out_shape = output_grid(affine, shape, resolution_mm)
    to_input = np.linalg.solve(affine, out_affine)
    field = None if field_hz is None else _bring(field_hz, to_input, out_shape)
    corrected = np.empty((*out_shape, dwi.shape[3]), np.float32)
    for volume, encoding in enumerate(encodings):
        matrix = voxel_matrix(transforms, volume, affine, shape, encoding.axis) @ to_input
        values = resample_volume(
            np.ascontiguousarray(dwi[..., volume]),
            matrix,
            shift_vox=None if field is None else encoding.sign * encoding.readout_s * field,
            phase_axis=encoding.axis,
            eddy_stretch=1.0 + float(transforms.eddy[volume, encoding.axis]),
            out_shape=out_shape,
        )
        corrected[..., volume] = values.clip(0)
    return corrected, out_affine


def _bring(
    image: Float[np.ndarray, "x y z"],
    matrix: Float[np.ndarray, "4 4"],
    shape: tuple[int, int, int],
) -> Float[np.ndarray, "i j k"]:
    """Read a smooth map on another grid; beyond its edge it goes on as there."""
    grid = np.indices(shape, dtype=np.float64).reshape(3, -1)
    at = matrix[:3, :3] @ grid + matrix[:3, 3:]
    return map_coordinates(image, at, order=1, mode="nearest").reshape(shape)
