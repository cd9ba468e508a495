"""Intensity bias of the receive coils, estimated by N4 (Tustison et al., IEEE TMI 29, 2010).

The field is sought as MRtrix3's ``dwibiascorrect ants`` does, with one level of B-splines 100 mm
apart (less in a small head), but on the geometric mean of b=0 and the lowest shell: the field is
the same on both, and fluid, bright on one and dark on the other, no longer passes for bias. It
stops after 50 iterations: what N4 adds later is anatomy.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import SimpleITK as sitk
from jaxtyping import Bool, Float, Num

from .shells import Shells

LOGGER = logging.getLogger(__name__)

_SPLINE_DISTANCE_MM = 100.0
_GRID_MM = 4.0
_ITERATIONS = 50
_CONVERGENCE = 1e-4
_SPLINE_ORDER = 3


def correct_bias(
    dwi: Float[np.ndarray, "x y z volume"],
    shells: Shells,
    mask: Bool[np.ndarray, "x y z"],
    voxel_size_mm: tuple[float, float, float],
    *,
    n_threads: int = 1,
) -> tuple[Float[np.ndarray, "x y z volume"], Float[np.ndarray, "x y z"]]:
    """Divide all volumes by one bias field.

    Parameters
    ----------
    dwi
        Scanner units, head motion corrected.
    shells
        The shell of each volume.
    mask
        The brain.
    voxel_size_mm
        Edge lengths of a voxel.
    n_threads
        Number of threads.

    Returns
    -------
    corrected : Float[np.ndarray, "x y z volume"]
        32-bit.
    field : Float[np.ndarray, "x y z"]
        What the volumes were divided by; 1 in the mean over the mask.
    """
    field = estimate_bias_field(even_image(dwi, shells), mask, voxel_size_mm, n_threads=n_threads)
    return np.divide(dwi, field[..., None], dtype=np.float32), field


def even_image(
    dwi: Float[np.ndarray, "x y z volume"], shells: Shells
) -> Float[np.ndarray, "x y z"]:
    """Give the geometric mean of b=0 and the lowest shell, on which tissues differ little."""
    b0, weighted = (dwi[..., shells.volumes(shell)].mean(axis=3) for shell in (0, 1))
    return np.sqrt(np.maximum(b0 * weighted, 0))


def estimate_bias_field(
    image: Float[np.ndarray, "x y z"],
    mask: Bool[np.ndarray, "x y z"],
    voxel_size_mm: tuple[float, float, float],
    *,
    n_threads: int = 1,
) -> Float[np.ndarray, "x y z"]:
    """Estimate the smooth field that multiplies an image.

    Parameters
    ----------
    image
        Scanner units; the less its tissues differ, the better.
    mask
        The brain; the field outside is held to its range inside.
    voxel_size_mm
        Edge lengths of a voxel.
    n_threads
        Number of threads.

    Returns
    -------
    Float[np.ndarray, "x y z"]
        32-bit, above 0; 1 in the mean over the mask.
    """
    pairs = list(zip(voxel_size_mm, image.shape, strict=True))
    whole = _to_sitk(image.astype(np.float32), voxel_size_mm)
    inside = _to_sitk((mask & (image > 0)).astype(np.uint8), voxel_size_mm)
    factors = [min(max(1, round(_GRID_MM / edge)), n) for edge, n in pairs]
    extents_mm = [
        edge * np.ptp(at) for edge, at in zip(voxel_size_mm, np.nonzero(mask), strict=True)
    ]
    distance_mm = min(_SPLINE_DISTANCE_MM, max(extents_mm) / 2)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([_ITERATIONS])
    n4.SetConvergenceThreshold(_CONVERGENCE)
    n4.SetSplineOrder(_SPLINE_ORDER)
    n4.SetNumberOfControlPoints(
        [int(np.ceil(edge * n / distance_mm)) + _SPLINE_ORDER for edge, n in pairs]
    )
    with _threads(n_threads):
        n4.Execute(sitk.Shrink(whole, factors), sitk.Shrink(inside, factors))
        log_field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(whole)).T
    field = np.exp(log_field.astype(np.float32))
    field = field.clip(field[mask].min(), field[mask].max())
    field /= field[mask].mean(dtype=np.float64)
    LOGGER.info("Bias field: %.2f to %.2f in the brain.", field[mask].min(), field[mask].max())
    return field


def _to_sitk(array: Num[np.ndarray, "x y z"], voxel_size_mm: tuple[float, ...]) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing(voxel_size_mm)
    return image


@contextmanager
def _threads(n_threads: int) -> Iterator[None]:
    """Bound ITK's threads: a filter's own number does not reach the filters inside it."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(n_threads)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
