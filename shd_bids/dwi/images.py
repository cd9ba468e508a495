"""Diffusion images: opened, checked and held as non-negative 32-bit floats."""

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Float

from shd_bids.bids.nifti import open_image, read_data
from shd_bids.errors import ImageError

LOGGER = logging.getLogger(__name__)

_MAX_NEGATIVE = 0.05  # share of the summed intensity


def load_dwi(file: Path) -> nib.Nifti1Image:
    """Load a diffusion series and refuse what cannot be one.

    Byte order and integer scaling are resolved by the way: the result holds 32-bit floats in
    memory. Slightly negative values (left by interpolation) become 0, with a warning.

    Parameters
    ----------
    file
        NIfTI, 4-D.

    Returns
    -------
    nib.Nifti1Image
        Axes (x, y, z, volume), scanner units, 0 or more; the affine of the file.

    Raises
    ------
    ImageError
        If the file is missing, empty, truncated or not NIfTI; if the image is not 4-D, not
        finite, constant, clearly negative or has an empty volume; if its affine is singular or its
        two orientations disagree.
    """
    image = open_image(file)
    if len(image.shape) != 4:
        raise ImageError(
            f"{file.name} is {len(image.shape)}-D {image.shape}; expected a 4-D series (x, y, z, "
            "volume). A single volume is no diffusion series."
        )
    data = read_data(image, file)
    if float(np.ptp(data)) == 0.0:
        raise ImageError(
            f"Every voxel of {file.name} is {float(data.flat[0]):g}; expected a diffusion series."
        )
    _check_volumes(data, file)
    header = image.header.copy()
    header.set_data_dtype(np.float32)
    header.set_slope_inter(1.0, 0.0)
    return nib.Nifti1Image(_clip_negative(data, file), image.affine, header)


def _check_volumes(data: Float[np.ndarray, "x y z volume"], file: Path) -> None:
    empty = [number for number in range(data.shape[3]) if not data[..., number].any()]
    if empty:
        others = f", and so are {len(empty) - 1} more" if len(empty) > 1 else ""
        raise ImageError(
            f"Volume {empty[0]} (counted from 0) of {file.name} is 0 in every voxel{others}; "
            "expected a signal in all. Was the scan stopped, or the conversion? Remove such "
            "volumes from the image and its gradient files."
        )


def _clip_negative(
    data: Float[np.ndarray, "x y z volume"], file: Path
) -> Float[np.ndarray, "x y z volume"]:
    negative = data < 0
    n_negative = int(negative.sum())
    if n_negative == 0:
        return data
    below = -float(data[negative].sum(dtype=np.float64))
    if below > _MAX_NEGATIVE * (float(data.sum(dtype=np.float64)) + 2 * below):
        raise ImageError(
            f"{n_negative / data.size:.1%} of the values of {file.name} are negative, down to "
            f"{data.min():g}; expected magnitudes. Is it a phase image, or did 16-bit integers "
            "overflow on conversion?"
        )
    LOGGER.warning(
        "%d values of %s (%.3f %%) are negative, down to %.4g: set to 0.",
        n_negative,
        file.name,
        100 * n_negative / data.size,
        data.min(),
    )
    return np.where(negative, np.float32(0), data)
