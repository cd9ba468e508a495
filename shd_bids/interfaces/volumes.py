"""Images, grids and transforms of the structural stage out of files, for its nodes."""

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from nipype.interfaces.base import isdefined

from shd_bids.anat.transforms import chain, read_transform
from shd_bids.anat.volume import Grid, Volume
from shd_bids.dwi.images import open_image

from .nifti import read_affine, read_array


def read_volume(file: str | Path) -> Volume:
    """Read an image of one volume and where it lies."""
    return Volume(np.squeeze(read_array(file)), read_affine(file))


def read_grid(file: str | Path) -> Grid:
    """Read where the voxels of an image lie."""
    x, y, z = open_image(Path(file)).shape[:3]
    return Grid((x, y, z), read_affine(file))


def read_chain(files: Any) -> sitk.Transform:
    """Read transforms and join them, in the order in which a point of the target passes them."""
    return chain(*(read_transform(Path(file)) for file in (files if isdefined(files) else ())))
