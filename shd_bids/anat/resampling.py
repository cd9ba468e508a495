"""Bring an image onto another grid, with a single interpolation."""

from typing import Literal

import numpy as np
import SimpleITK as sitk
from jaxtyping import Num, Shaped

from .label_resampling import resample_labels
from .volume import FLIP, Grid, Volume, from_itk, to_itk

Kind = Literal["linear", "cubic", "label"]
_INTERPOLATORS = {"linear": sitk.sitkLinear, "cubic": sitk.sitkBSpline3}
_FWHM = 2.3548  # of a Gaussian, in standard deviations
_SAME_PLACE_MM = 0.01


def resample(
    volume: Volume, transform: sitk.Transform, grid: Grid, *, kind: Kind = "linear"
) -> Num[np.ndarray, "i j k"]:
    """Bring an image onto a grid in another space.

    Where the new voxels are larger than the old ones, the image is smoothed first, so that a voxel
    holds about the mean of what lies in it. Labels are never mixed: each voxel gets the one that
    fills most of its neighbourhood.

    Parameters
    ----------
    volume
        In A.
    transform
        From A to B.
    grid
        In B.
    kind
        ``"linear"`` or ``"cubic"`` interpolation, or ``"label"`` for whole numbers.

    Returns
    -------
    Num[np.ndarray, "i j k"]
        32-bit floats, or labels as 32-bit integers; 0 where A was not seen.
    """
    if kind == "label":
        return resample_labels(volume, transform, grid)
    image = to_itk(Volume(volume.data.astype(np.float32), volume.affine))
    new_mm = max(grid.voxel_mm)
    sigmas = [max(new_mm**2 - old**2, 0.0) ** 0.5 / _FWHM for old in volume.grid.voxel_mm]
    if max(sigmas) > 0:
        image = sitk.DiscreteGaussian(image, [max(s, 1e-3) ** 2 for s in sigmas])
    lps = FLIP @ grid.affine
    moved = sitk.Resample(
        image,
        list(grid.shape),
        transform,
        _INTERPOLATORS[kind],
        lps[:3, 3].tolist(),
        list(grid.voxel_mm),
        (lps[:3, :3] / grid.voxel_mm).ravel().tolist(),
        0.0,
        image.GetPixelID(),
    )
    return from_itk(moved).data


def regrid(volume: Volume, grid: Grid, *, kind: Kind = "linear") -> Shaped[np.ndarray, "i j k"]:
    """Bring an image onto another grid in its own space; on the same grid it stays as it is.

    Parameters
    ----------
    volume, grid
        In one space.
    kind
        As in `resample`.

    Returns
    -------
    Shaped[np.ndarray, "i j k"]
        0 beyond the image.
    """
    far_corner = np.array([*grid.shape, 1.0])
    apart_mm = np.abs(volume.affine - grid.affine) @ far_corner
    if volume.grid.shape == grid.shape and apart_mm.max() < _SAME_PLACE_MM:
        return volume.data
    return resample(volume, sitk.Transform(3, sitk.sitkIdentity), grid, kind=kind)
