"""Arrays in and out of NIfTI files, as the nodes hand them on."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float, Num


def read_array(file: str | Path) -> Float[np.ndarray, "..."]:
    """Read the voxels of an image as 32-bit floats.

    Parameters
    ----------
    file
        NIfTI.

    Returns
    -------
    Float[np.ndarray, "..."]
        Scaled values.
    """
    return np.asarray(_open(file).get_fdata(dtype=np.float32, caching="unchanged"))


def read_labels(file: str | Path) -> Num[np.ndarray, "..."]:
    """Read whole numbers as they are stored: 32-bit floats lose those above 2^24."""
    return np.asanyarray(_open(file).dataobj)


def read_mask(file: str | Path) -> Bool[np.ndarray, "x y z"]:
    """Read a mask: every voxel that is not 0."""
    return read_labels(file) != 0


def read_affine(file: str | Path) -> Float[np.ndarray, "4 4"]:
    """Read the voxel-to-world matrix, RAS+ mm."""
    return np.asarray(_open(file).affine, dtype=np.float64)


def write_array(
    data: Num[np.ndarray, "..."] | Bool[np.ndarray, "..."], like: str | Path, file: Path
) -> str:
    """Write an array on the grid of another image.

    Parameters
    ----------
    data
        The first three axes are those of `like`. Masks and whole numbers below 256 are stored in
        8 bits, 32-bit integers as they are, all else as 32-bit floats.
    like
        Image whose affine, orientation codes and units are kept.
    file
        ``.nii`` or ``.nii.gz``.

    Returns
    -------
    str
        The absolute path, as nipype wants it.
    """
    reference = _open(like)
    kinds = {"bool": np.uint8, "uint8": np.uint8, "int32": np.int32}
    kind = kinds.get(data.dtype.name, np.float32)
    header = reference.header.copy()
    header.set_data_dtype(kind)
    header.set_slope_inter(1.0, 0.0)
    header["cal_min"] = header["cal_max"] = 0
    header["descrip"] = b""
    image = nib.Nifti1Image(np.asarray(data, dtype=kind), reference.affine, header)
    image.to_filename(file)
    return str(file.absolute())


def _open(file: str | Path) -> Any:
    return nib.load(file)
