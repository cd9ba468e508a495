"""Brain masks from diffusion data alone: median filter, Otsu threshold, clean-up.

The way of DIPY's ``median_otsu``, with two changes. The filter has a size in mm, so that 4 mm
voxels or thick slices are not blurred away. And the mask is the union over b=0 and its geometric
mean with each shell: on b=0 bright CSF lifts the threshold above dim white matter, in the geometric
mean all tissues are about as bright. A shell alone would not do: where its noise floor is high and
the receive field uneven, background on one side outshines brain on the other.
"""

import logging

import numpy as np
from dipy.segment.threshold import otsu
from jaxtyping import Bool, Float
from scipy import ndimage

from shd_bids.dwi.shells import Shells
from shd_bids.errors import MaskError

LOGGER = logging.getLogger(__name__)

_FILTER_RADIUS_MM = 4.0
_FILTER_PASSES = 2
_OPENING_MM = 5.0
_CLOSING_MM = 6.0
_NO_BACKGROUND_RATIO = 0.42


def estimate_brain_mask(
    dwi: Float[np.ndarray, "x y z volume"],
    shells: Shells,
    voxel_size_mm: tuple[float, float, float],
) -> Bool[np.ndarray, "x y z"]:
    """Find the brain in a diffusion series.

    Where the median-filtered b=0 image has no background (the mean below its Otsu threshold is
    more than 42 % of the mean above it, as in a crop of the brain's inside), all voxels with a
    b=0 signal are taken, with a warning.

    Parameters
    ----------
    dwi
        Scanner units, 0 or more.
    shells
        The shell of each volume.
    voxel_size_mm
        Edge lengths of a voxel.

    Returns
    -------
    Bool[np.ndarray, "x y z"]
        One connected region without holes.

    Raises
    ------
    MaskError
        If nothing is found.
    """
    means = [dwi[..., shells.volumes(shell)].mean(axis=3) for shell in range(shells.n_shell)]
    smooth = [_smooth(mean, voxel_size_mm) for mean in means]
    if _has_no_background(smooth[0]):
        mask = means[0] > 0
        LOGGER.warning(
            "The images show no background, so no brain outline can be found: all %d voxels with "
            "a b=0 signal are taken as brain.",
            mask.sum(),
        )
    else:
        mask = np.zeros(dwi.shape[:3], dtype=bool)
        for image in (smooth[0], *(np.sqrt(smooth[0] * shell) for shell in smooth[1:])):
            mask |= image > otsu(image)
        mask = _clean(mask, voxel_size_mm)
    check_mask(mask, dwi.shape[:3], source="the estimated brain mask")
    return mask


def check_mask(
    mask: Bool[np.ndarray, "x y z"], shape: tuple[int, ...], *, source: str, min_voxels: int = 50
) -> None:
    """Refuse a mask that does not fit its image or holds next to nothing.

    Parameters
    ----------
    mask
        True in the brain.
    shape
        Matrix of the image, (x, y, z).
    source
        What the mask is, or its file name, for the message.
    min_voxels
        Fewer than this count as empty.

    Raises
    ------
    MaskError
        If the shapes differ or the mask is empty.
    """
    if mask.shape != tuple(shape):
        raise MaskError(
            f"The shape of {source} is {mask.shape}, but the image has {tuple(shape)} voxels. "
            "Resample the mask onto the diffusion image."
        )
    n_voxel = int(mask.sum())
    if n_voxel < min_voxels:
        raise MaskError(
            f"There are {n_voxel} voxels in {source}, expected at least {min_voxels}. Check that "
            "the series shows a brain, or choose another --mask-method."
        )


def _smooth(
    image: Float[np.ndarray, "x y z"], voxel_size_mm: tuple[float, float, float]
) -> Float[np.ndarray, "x y z"]:
    size = tuple(
        min(2 * round(_FILTER_RADIUS_MM / edge) + 1, n)
        for edge, n in zip(voxel_size_mm, image.shape, strict=True)
    )
    for _ in range(_FILTER_PASSES):
        image = ndimage.median_filter(image, size=size, mode="nearest")
    return image


def _has_no_background(image: Float[np.ndarray, "x y z"]) -> bool:
    low = image <= otsu(image)
    if low.all() or not low.any():
        return True
    return bool(image[low].mean() > _NO_BACKGROUND_RATIO * image[~low].mean())


def _clean(
    mask: Bool[np.ndarray, "x y z"], voxel_size_mm: tuple[float, float, float]
) -> Bool[np.ndarray, "x y z"]:
    """Cut thin bridges to eyes and scalp, keep the largest part, close gaps and fill holes."""
    core = _largest(ndimage.binary_erosion(mask, _ball(_OPENING_MM, voxel_size_mm), border_value=1))
    mask = mask & ndimage.binary_dilation(core, _ball(_OPENING_MM * 1.5, voxel_size_mm))
    ball = _ball(_CLOSING_MM, voxel_size_mm)
    pad = [(n // 2, n // 2) for n in ball.shape]
    closed = ndimage.binary_closing(np.pad(mask, pad, mode="edge"), ball)
    inner = tuple(slice(before, -after or None) for before, after in pad)
    return ndimage.binary_fill_holes(closed[inner])


def _largest(mask: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    labels, n_part = ndimage.label(mask)
    if n_part < 2:
        return mask
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


def _ball(radius_mm: float, voxel_size_mm: tuple[float, float, float]) -> Bool[np.ndarray, "i j k"]:
    reach = [int(radius_mm // edge) for edge in voxel_size_mm]
    axes = np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij")
    squared = [(axis * edge) ** 2 for axis, edge in zip(axes, voxel_size_mm, strict=True)]
    return np.sum(squared, axis=0) <= radius_mm**2
