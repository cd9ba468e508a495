"""The phantom's T1-weighted image: its contrast, and a scan on a grid of its own."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from nibabel.affines import voxel_sizes
from scipy.spatial.transform import Rotation

from shd_bids.dwi.transforms import VolumeTransforms

from .epi import Scanner
from .geometry import sample_anatomy
from .kernels import add_rician_noise

T1W = np.array([1000.0, 650.0, 250.0])  # of WM, GM, CSF
T1W_SIGMA = 20.0
T1W_SIDECAR: Mapping[str, Any] = {
    "MagneticFieldStrength": 3,
    "RepetitionTime": 2.3,
    "EchoTime": 0.003,
    "FlipAngle": 9,
}
_FINER = 0.75  # edge of its voxels over that of the DWI's
_WIDER = 1.1  # its field of view
_TURN_DEG = (6.0, -4.0, 3.0)  # of its grid in the scanner, about x, y and z


def scan_t1w(
    dwi_shape: tuple[int, int, int],
    dwi_affine: Float[np.ndarray, "4 4"],
    transforms: VolumeTransforms,
    generator: np.random.Generator,
) -> tuple[Float[np.ndarray, "i j k"], Float[np.ndarray, "4 4"]]:
    """Scan the head, without distortion, on a finer grid that is turned against the DWI's.

    Parameters
    ----------
    dwi_shape, dwi_affine
        Where the DWI lies; the head's position is about the centre of that grid.
    transforms
        Of the one T1w volume.
    generator
        Of the noise.

    Returns
    -------
    t1w
        Scanner units.
    affine
        RAS+ axes up to the turn.
    """
    centre = dwi_affine[:3, :3] @ ((np.array(dwi_shape) - 1) / 2) + dwi_affine[:3, 3]
    step_mm = _FINER * voxel_sizes(dwi_affine).min()
    extent_mm = _WIDER * np.abs(dwi_affine[:3, :3]) @ np.array(dwi_shape)
    shape = np.ceil(extent_mm / step_mm).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = step_mm * Rotation.from_euler("xyz", _TURN_DEG, degrees=True).as_matrix()
    affine[:3, 3] = centre - affine[:3, :3] @ ((shape - 1) / 2)

    offsets = np.moveaxis(np.indices(shape), 0, -1) - (shape - 1) / 2
    moved = offsets @ affine[:3, :3].T - transforms.translation_mm[0]
    points = moved @ transforms.rotations()[0] / Scanner(dwi_shape, dwi_affine).scale
    tissue = sample_anatomy(points.reshape(-1, 3), bundles=()).tissue
    return add_rician_noise((tissue @ T1W).reshape(*shape), T1W_SIGMA, generator), affine
