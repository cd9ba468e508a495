"""Diffusion images: opened, checked and held as non-negative 32-bit floats."""

import logging
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Float
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from shd_bids.bids.files import say_missing
from shd_bids.errors import ImageError

LOGGER = logging.getLogger(__name__)

_UNREADABLE = (
    EOFError,
    OSError,
    ValueError,
    zlib.error,
    ImageFileError,
    HeaderDataError,
    WrapStructError,
)
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
        finite, constant or clearly negative; if its affine is singular or its two orientations
        disagree.
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
    header = image.header.copy()
    header.set_data_dtype(np.float32)
    header.set_slope_inter(1.0, 0.0)
    return nib.Nifti1Image(_clip_negative(data, file), image.affine, header)


def open_image(file: Path) -> nib.Nifti1Image:
    """Open a NIfTI file, read its header and check its orientation; the data stay on disk.

    Parameters
    ----------
    file
        NIfTI of any dimension.

    Returns
    -------
    nib.Nifti1Image
        With a usable affine.

    Raises
    ------
    ImageError
        If the file is missing, empty or not NIfTI, or its orientation is unusable.
    """
    if not file.exists():
        raise ImageError(f"{say_missing(file)}.")
    if file.stat().st_size == 0:
        raise ImageError(f"{file.name} has zero bytes. Was the disk full when it was written?")
    try:
        image = nib.load(file)
    except _UNREADABLE as error:
        raise ImageError(f"{file.name} cannot be read as NIfTI: {error}.") from error
    if not isinstance(image, nib.Nifti1Image):  # NIfTI-2 is a subclass
        raise ImageError(f"{file.name} is {type(image).__name__}; expected NIfTI.")
    if 0 in image.shape:
        raise ImageError(f"{file.name} holds no voxels: its shape is {image.shape}.")
    _check_orientation(image, file)
    return image


def read_data(image: nib.Nifti1Image, file: Path) -> Float[np.ndarray, "..."]:
    """Read the voxels as 32-bit floats and refuse NaN and infinity.

    Parameters
    ----------
    image
        As opened by `open_image`.
    file
        Its file, for the message.

    Returns
    -------
    Float[np.ndarray, "..."]
        Scaled values in C order.

    Raises
    ------
    ImageError
        If the file is truncated, holds no plain numbers, or not only finite ones.
    """
    kind = image.get_data_dtype().kind
    if kind not in "iuf":
        raise ImageError(
            f"{file.name} holds data of type {image.get_data_dtype()}; expected magnitudes as "
            "integers or floats."
        )
    try:
        data = image.get_fdata(dtype=np.float32, caching="unchanged")
    except _UNREADABLE as error:
        raise ImageError(
            f"{file.name} is truncated or damaged: {error}. Copy or convert it again."
        ) from error
    data = np.ascontiguousarray(data)
    n_bad = data.size - int(np.isfinite(data).sum())
    if n_bad:
        raise ImageError(
            f"{file.name} holds {n_bad} values that are NaN or infinite ({n_bad / data.size:.2%}); "
            "expected finite ones. Replace them, by 0 outside the head."
        )
    return data


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


def _check_orientation(image: nib.Nifti1Image, file: Path) -> None:
    affine = image.affine
    linear = affine[:3, :3]
    if not np.isfinite(affine).all() or not _invertible(linear):
        raise ImageError(
            f"The affine of {file.name} is zero or singular:\n{np.round(affine, 4)}\nExpected "
            "three independent axes. Repair the header's sform and qform from the scanner's data."
        )
    header = image.header
    if not (header["qform_code"] > 0 or header["sform_code"] > 0):
        LOGGER.warning(
            "%s states no orientation (qform and sform codes are 0): left and right are a guess.",
            file.name,
        )
    if not (header["qform_code"] > 0 and header["sform_code"] > 0):
        return
    size = np.array(image.shape[:3])
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in size], indexing="ij")).reshape(3, -1)
    apart = (header.get_sform() - header.get_qform()) @ np.vstack([corners, np.ones(8)])
    distance_mm = float(np.linalg.norm(apart[:3], axis=0).max())
    voxel_mm = float(np.linalg.norm(linear, axis=0).min())
    if distance_mm > voxel_mm / 2:
        raise ImageError(
            f"The sform and qform of {file.name} disagree by up to {distance_mm:.1f} mm (voxels of "
            f"{voxel_mm:.2g} mm): gradients would turn with the wrong one. Copy the right one over "
            "the other, or set the wrong one's code to 0."
        )


def _invertible(linear: Float[np.ndarray, "3 3"]) -> bool:
    lengths = np.linalg.norm(linear, axis=0)
    if np.any(lengths < 1e-6):
        return False
    return abs(float(np.linalg.det(linear / lengths))) > 1e-3
