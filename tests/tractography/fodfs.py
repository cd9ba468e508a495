"""Small fODFs of known directions, for the tests of peaks, maps and tracks."""

from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

from shd_bids.sphere.harmonics import sh_basis

OBLIQUE = Rotation.from_euler("xyz", [20, -15, 30], degrees=True).as_matrix()
AFFINES = {
    "ras": np.diag([2.0, 2.0, 2.0, 1.0]),
    "las": np.diag([-2.0, 2.0, 2.0, 1.0]),
    "oblique": np.eye(4),
    "oblique-las-anisotropic": np.eye(4),
}
AFFINES["oblique"][:3, :3] = OBLIQUE * [2.0, 2.0, 2.0]
AFFINES["oblique-las-anisotropic"][:3, :3] = OBLIQUE * [-2.0, 1.5, 2.5]
for _affine in AFFINES.values():
    _affine[:3, 3] = [-31.0, 12.0, 7.0]


def random_directions(n: int, seed: int = 0) -> np.ndarray:
    """Draw unit vectors uniformly."""
    vectors = np.random.default_rng(seed).normal(size=(n, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def delta_fodf(directions: np.ndarray, lmax: int = 8) -> np.ndarray:
    """Return the series of one sharp fibre of integral 1 along each direction."""
    directions = np.asarray(directions, dtype=float)
    unit = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    # The series of a delta is the basis at its direction; both antipodes share the integral.
    series = sh_basis(unit.reshape(-1, 3), lmax)
    return series.reshape(*unit.shape[:-1], -1).astype(np.float32)


def angles_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the angle between axes, exact for small ones."""
    sine = np.linalg.norm(np.cross(a.astype(float), b.astype(float)), axis=-1)
    cosine = np.abs(np.sum(a.astype(float) * b, axis=-1))
    return np.degrees(np.arctan2(sine, cosine))


def save_image(data: np.ndarray, affine: np.ndarray, file: Path) -> Path:
    """Write a NIfTI image."""
    nib.save(nib.Nifti1Image(data, affine), file)
    return file
