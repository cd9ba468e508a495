"""Where the brain is in a T1w image: through a template, or through the diffusion series."""

import logging

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from shd_bids.errors import AnatomyError

from .normalisation import normalise
from .resampling import resample
from .transforms import from_matrix
from .volume import Volume

LOGGER = logging.getLogger(__name__)

MASK_METHODS = {
    "given": "the image came without skull: its brain is what is not 0",
    "template": "the brain of the template, brought to the image by registration",
    "input": "it came with the preprocessed series, or is where its tissues are",
    "dwi": "poor: taken over from the diffusion series, because there was no template",
}

_LARGEST_BRAIN_MM3 = 2.2e6
_RIM_MM = 3.0
_BRIDGE_MM = 1.5
_MIN_VOXELS = 500


def is_skull_stripped(t1w: Volume) -> bool:
    """Tell whether somebody has already removed all but the brain.

    Then the rim of the image and most of its voxels are exactly 0, and what is left is one piece no
    larger than a brain can be (2.2 litres).
    """
    seen = t1w.data != 0
    faces = [np.take(seen, side, axis=axis) for axis in range(3) for side in (0, -1)]
    if np.mean([face.mean() for face in faces]) > 0.01 or seen.mean() > 0.6:
        return False
    volume_mm3 = float(seen.sum()) * float(np.prod(t1w.grid.voxel_mm))
    return volume_mm3 < _LARGEST_BRAIN_MM3 and bool(_largest(seen).sum() > 0.98 * seen.sum())


def stripped_mask(t1w: Volume) -> Bool[np.ndarray, "x y z"]:
    """Give the brain of a skull-stripped image, its dark holes filled."""
    return _checked(ndimage.binary_fill_holes(_largest(t1w.data != 0)))


def mask_from_template(
    t1w: Volume, template: Volume, template_mask: Bool[np.ndarray, "i j k"]
) -> Bool[np.ndarray, "x y z"]:
    """Carry the template's brain mask over to a T1w image and fit it to its intensities.

    Parameters
    ----------
    t1w
        Head, free of bias.
    template
        Head.
    template_mask
        Its brain.

    Returns
    -------
    Bool[np.ndarray, "x y z"]
        One piece without holes.

    Raises
    ------
    AnatomyError
        If next to nothing is left.
    """
    transform = normalise(t1w, template).from_template()
    soft = Volume(template_mask.astype(np.float32), template.affine)
    mask = resample(soft, transform, t1w.grid) > 0.5
    return _checked(_refine(t1w, mask))


def mask_from_dwi(
    t1w: Volume, dwi_mask: Volume, t1w_to_dwi: Float[np.ndarray, "4 4"]
) -> Bool[np.ndarray, "x y z"]:
    """Carry the brain mask of the diffusion series over to a T1w image: a poor mask.

    It is as coarse as the diffusion voxels and as distorted as they are.

    Parameters
    ----------
    t1w
        Head, free of bias.
    dwi_mask
        Of the series.
    t1w_to_dwi
        As `shd_bids.anat.registration.register` gives it.

    Returns
    -------
    Bool[np.ndarray, "x y z"]
        One piece without holes.

    Raises
    ------
    AnatomyError
        If next to nothing is left.
    """
    LOGGER.warning(
        "There is no template, so the T1w brain mask is that of the diffusion series: it is "
        "coarse. See --anat-template."
    )
    soft = Volume(dwi_mask.data.astype(np.float32), dwi_mask.affine)
    mask = resample(soft, from_matrix(np.linalg.inv(t1w_to_dwi)), t1w.grid) > 0.5
    return _checked(_refine(t1w, mask))


def dice(one: Bool[np.ndarray, "x y z"], other: Bool[np.ndarray, "x y z"]) -> float:
    """Give the overlap of two masks, 0 to 1.

    Examples
    --------
    >>> dice(np.ones((2, 2, 2), dtype=bool), np.ones((2, 2, 2), dtype=bool))
    1.0
    """
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 0.0


def _refine(t1w: Volume, mask: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """Drop marrow and fat from the rim, which are brighter than any brain; cut thin bridges."""
    depth = _depth_mm(mask, t1w)
    core = t1w.data[depth > 2 * _RIM_MM]
    if core.size:
        mask = mask & ~((depth <= _RIM_MM) & (t1w.data > np.percentile(core, 99.5)))
    inner = _largest(_depth_mm(mask, t1w) > _BRIDGE_MM)
    reach = ndimage.distance_transform_edt(~inner, sampling=t1w.grid.voxel_mm)
    return ndimage.binary_fill_holes(mask & (reach <= 2 * _BRIDGE_MM))


def _depth_mm(mask: Bool[np.ndarray, "x y z"], t1w: Volume) -> Float[np.ndarray, "x y z"]:
    return ndimage.distance_transform_edt(mask, sampling=t1w.grid.voxel_mm)


def _largest(mask: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    labels, n_part = ndimage.label(mask)
    if n_part < 2:
        return mask
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


def _checked(mask: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    n_voxel = int(mask.sum())
    if n_voxel < _MIN_VOXELS:
        raise AnatomyError(
            f"The brain mask of the T1w image holds {n_voxel} voxels, expected at least "
            f"{_MIN_VOXELS}: the registration failed. Check that the T1w image shows a head and "
            "lies the right way round, or give another --anat-template."
        )
    return mask
