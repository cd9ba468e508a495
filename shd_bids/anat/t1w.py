"""The structural image as acquired, read and checked."""

from pathlib import Path

import numpy as np

from shd_bids.anat.volume import Volume
from shd_bids.bids.nifti import open_image, read_data
from shd_bids.errors import AnatomyError, ImageError

_ADVICE = "Choose another image with --bids-filter-file, or leave it out with --skip-anat."


def load_t1w(file: Path) -> Volume:
    """Load a T1w image and refuse what cannot be one.

    Parameters
    ----------
    file
        NIfTI of one volume.

    Returns
    -------
    Volume
        Values of 0 or more.

    Raises
    ------
    AnatomyError
        If the file cannot be read, or is not one volume that shows something.
    """
    try:
        image = open_image(file)
        shape = tuple(length for length in image.shape if length > 1)
        if len(shape) != 3:
            raise AnatomyError(
                f"{file.name} has the shape {image.shape}; expected one T1w volume (x, y, z). "
                f"{_ADVICE}"
            )
        data = np.squeeze(read_data(image, file))
    except ImageError as error:
        raise AnatomyError(f"{error} {_ADVICE}") from error
    if not data.max() > max(0.0, float(data.min())):
        raise AnatomyError(
            f"Every voxel of {file.name} is {float(data.flat[0]):g}, or none is above 0; expected "
            f"a T1w image. {_ADVICE}"
        )
    return Volume(data.clip(0), np.asarray(image.affine, np.float64))
