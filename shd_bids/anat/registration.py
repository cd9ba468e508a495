"""Rigid and affine registration by mutual information, which does not mind the contrast."""

from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from jaxtyping import Bool, Float
from scipy import ndimage

from shd_bids.errors import TransformError

from .resampling import resample
from .transforms import to_matrix
from .volume import FLIP, Volume, to_itk

_N_BIN = 32
_COARSE_MM = 6.0
_FINE_MM = (4.0, 2.0)
_START_TURNS_DEG = 12.0
_MIN_VOXELS = 100
_SEED = 1
_N_SWEEP = 10
_N_KEPT = 3  # of the starts, for finer voxels
_MAX_SAMPLES = 200_000  # of the fixed image, in a round


def register(
    fixed: Volume,
    moving: Volume,
    *,
    model: Literal["rigid", "affine"] = "rigid",
    mask: Bool[np.ndarray, "x y z"] | None = None,
) -> Float[np.ndarray, "4 4"]:
    """Find where each point of one image lies in another.

    Mattes' mutual information is climbed from several starts (the scanner's coordinates, the
    centres of mass, and these turned about each axis) on coarse voxels; the best three are followed
    to finer ones, and the best of these to fine ones.

    Parameters
    ----------
    fixed
        Image in B, as a b=0 image.
    moving
        Image in A, as a T1w image.
    model
        Six or twelve degrees of freedom.
    mask
        Where the fixed image is compared; everywhere by default.

    Returns
    -------
    Float[np.ndarray, "4 4"]
        From A to B: takes points of B (RAS+ mm) to points of A.

    Raises
    ------
    TransformError
        If the two images have nothing to compare.
    """
    inside = np.ones(fixed.data.shape, dtype=bool) if mask is None else mask
    _check(fixed, inside)
    centre = _centre_of_mass(fixed, inside)
    shift = _centre_of_mass(moving, np.ones(moving.data.shape, dtype=bool)) - centre
    coarse = _at_scale(fixed, moving, inside, _COARSE_MM)
    rounds = [
        _climb(*coarse, _start(centre, offset, turn), _COARSE_MM)
        for offset in (np.zeros(3), shift)
        for turn in np.vstack([np.zeros(3), np.eye(3), -np.eye(3)]) * _START_TURNS_DEG
    ]
    best = sorted(rounds, key=lambda one: one[0])[:_N_KEPT]
    finer = _at_scale(fixed, moving, inside, _FINE_MM[0])
    kept = [_climb(*finer, transform, _FINE_MM[0]) for _, transform in best]
    _, transform = min(kept, key=lambda one: one[0])
    if model == "affine":
        full = sitk.AffineTransform(3)
        full.SetCenter(transform.GetCenter())
        full.SetMatrix(transform.GetMatrix())
        full.SetTranslation(transform.GetTranslation())
        _, transform = _climb(*coarse, full, _COARSE_MM)
    for edge_mm in _FINE_MM:
        _, transform = _climb(*_at_scale(fixed, moving, inside, edge_mm), transform, edge_mm)
    return to_matrix(transform)


def _start(centre: np.ndarray, offset: np.ndarray, turn_deg: np.ndarray) -> sitk.Transform:
    start = sitk.Euler3DTransform()
    start.SetCenter((FLIP[:3, :3] @ centre).tolist())
    start.SetTranslation((FLIP[:3, :3] @ offset).tolist())
    start.SetRotation(*np.deg2rad(turn_deg).tolist())
    return start


def _at_scale(
    fixed: Volume, moving: Volume, inside: Bool[np.ndarray, "x y z"], edge_mm: float
) -> tuple[sitk.Image, sitk.Image, sitk.Image]:
    """Give both images and the mask with voxels of about one size."""
    target, source = (_shrink(image, edge_mm) for image in (fixed, moving))
    where = resample(Volume(inside, fixed.affine), sitk.Transform(), target.grid, kind="label")
    return to_itk(target), to_itk(source), to_itk(Volume(where > 0, target.affine))


def _shrink(volume: Volume, edge_mm: float) -> Volume:
    grid = volume.grid.with_voxels(max(edge_mm, min(volume.grid.voxel_mm)))
    return Volume(resample(volume, sitk.Transform(), grid), grid.affine)


def _climb(
    fixed: sitk.Image, moving: sitk.Image, mask: sitk.Image, start: Any, edge_mm: float
) -> tuple[float, Any]:
    """Improve a transform; the lower the value, the better."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_N_BIN)
    method.SetMetricFixedMask(mask)
    method.SetInterpolator(sitk.sitkLinear)
    share = min(1.0, _MAX_SAMPLES / fixed.GetNumberOfPixels())
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(share, _SEED)
    if isinstance(start, sitk.AffineTransform):  # with long steps a stretch runs away
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=edge_mm / 12, minStep=edge_mm * 2e-3, numberOfIterations=60
        )
    else:  # along one axis after another: a turn that changes little is not drowned by the rest
        method.SetOptimizerAsPowell(
            numberOfIterations=_N_SWEEP,
            maximumLineIterations=30,
            stepLength=edge_mm / 2,
            stepTolerance=edge_mm * 1e-2,
            valueTolerance=1e-5,
        )
    method.SetOptimizerScalesFromPhysicalShift()
    transform = type(start)(start)
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:  # from this start, too little of one image falls into the other
        return np.inf, start
    return method.GetMetricValue(), transform


def _centre_of_mass(volume: Volume, inside: Bool[np.ndarray, "x y z"]) -> Float[np.ndarray, "3"]:
    weights = np.where(inside, volume.data, 0).clip(0)
    centre = np.array(ndimage.center_of_mass(weights)) if weights.any() else np.zeros(3)
    return volume.affine[:3, :3] @ centre + volume.affine[:3, 3]


def _check(fixed: Volume, inside: Bool[np.ndarray, "x y z"]) -> None:
    n_voxel = int(inside.sum())
    if n_voxel < _MIN_VOXELS or float(np.ptp(fixed.data[inside])) == 0.0:
        raise TransformError(
            f"The image to register to shows nothing in the {n_voxel} voxels that are compared; "
            f"expected at least {_MIN_VOXELS} with contrast. Check the brain mask of the series."
        )
