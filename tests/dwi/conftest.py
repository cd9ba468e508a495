"""Small diffusion series whose truth is known, on the grids that scanners produce."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dipy.core.sphere import HemiSphere, disperse_charges

ROTATION = np.array([[0.96, -0.16, 0.23], [0.2, 0.97, -0.15], [-0.2, 0.19, 0.96]])
AFFINES = {
    "RAS": np.diag([2.0, 2.0, 2.5, 1.0]),
    "LAS": np.diag([-2.0, 2.0, 2.5, 1.0]),
    "LPS": np.diag([-2.0, -2.0, 2.5, 1.0]),
    "PSR": np.array([[0, 0, 2.5, 0], [-2.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 1.0]]),
    "oblique RAS": np.eye(4),
    "oblique LAS": np.eye(4),
}
_orthonormal = np.linalg.qr(ROTATION)[0]
_orthonormal *= np.sign(np.diag(_orthonormal))
AFFINES["oblique RAS"][:3, :3] = _orthonormal @ np.diag([2.0, 2.0, 2.5])
AFFINES["oblique LAS"][:3, :3] = _orthonormal @ np.diag([-2.0, 2.0, 2.5])
for _affine in AFFINES.values():
    _affine[:3, 3] = [-10.0, 20.0, 30.0]


@pytest.fixture(params=sorted(AFFINES))
def affine(request: pytest.FixtureRequest) -> np.ndarray:
    """Give each orientation in turn."""
    return AFFINES[request.param]


@pytest.fixture
def directions() -> np.ndarray:
    """Twelve directions spread over the hemisphere."""
    rng = np.random.default_rng(5)
    theta, phi = np.arccos(rng.uniform(0, 1, 12)), rng.uniform(0, 2 * np.pi, 12)
    sphere, _ = disperse_charges(HemiSphere(theta=theta, phi=phi), 500)
    return sphere.vertices


@pytest.fixture
def write_scan(tmp_path: Path) -> Callable[..., Path]:
    """Write an image under a name and give its path."""

    def write(data: np.ndarray, affine: np.ndarray | None = None, name: str = "dwi.nii") -> Path:
        file = tmp_path / name
        nib.save(nib.Nifti1Image(data, np.eye(4) if affine is None else affine), file)
        return file

    return write
