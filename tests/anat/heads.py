"""The phantom's T1w image, and the same head turned, stretched and seen on another grid."""

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from shd_bids.anat.volume import Grid, Volume
from shd_bids.testing.phantom import Phantom, make_affine, make_phantom

SHAPE, EDGE_MM = (36, 36, 28), 2.0
T1W = np.array([1000.0, 650.0, 250.0])  # of WM, GM, CSF


def make_head() -> tuple[Phantom, Volume]:
    """Make a phantom without diffusion weighting and its T1w image on an oblique grid."""
    phantom = make_phantom(SHAPE, EDGE_MM, shells={0: 1, 1000: 1})
    return phantom, Volume((phantom.truth.tissue @ T1W).astype(np.float32), phantom.affine)


def rigid(angles_deg: tuple[float, ...], shift_mm: tuple[float, ...], centre: np.ndarray):
    """Turn about a point, then shift: a matrix between points, RAS+ mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    matrix[:3, 3] = centre + shift_mm - matrix[:3, :3] @ centre
    return matrix


def seen_at(volume: Volume, matrix: np.ndarray, grid: Grid) -> np.ndarray:
    """Look an image up where a matrix sends the points of a grid, without ITK."""
    vox = np.linalg.inv(volume.affine) @ matrix @ grid.affine
    return ndimage.affine_transform(
        volume.data.astype(np.float32), vox[:3, :3], vox[:3, 3], output_shape=grid.shape, order=1
    )


def upright_grid(shape=(40, 40, 32), edge_mm=2.0, orientation="RAS") -> Grid:
    """Make a grid about the phantom's centre."""
    return Grid(shape, make_affine(shape, edge_mm, orientation))
