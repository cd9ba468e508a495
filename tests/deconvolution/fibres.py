"""Fibres whose signal is known, on two shells, with the responses that belong to it."""

import numpy as np
from dipy.data import default_sphere
from scipy.spatial.transform import Rotation

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.shells import Shells, cluster_shells
from shd_bids.response.io import Response
from shd_bids.sphere.harmonics import degree_of_count, sh_basis
from shd_bids.testing.kernels import MEAN_INTRA_FRACTION, S0, fibre_signal, true_responses

BVALS = np.array([0.0] * 3 + [1000.0] * 30 + [2500.0] * 60)
_OBLIQUE = Rotation.from_euler("xyz", [25, -15, 40], degrees=True).as_matrix()
AFFINES = {
    "right-handed": np.diag([2.0, 2.0, 2.0, 1.0]),
    "left-handed": np.diag([-2.0, 2.0, 2.0, 1.0]),
    "oblique": np.block([[2.0 * _OBLIQUE, np.zeros((3, 1))], [np.zeros((1, 3)), 1.0]]),
}


def make_scheme() -> tuple[GradientTable, Shells, dict[str, Response]]:
    bvecs = np.vstack([np.zeros((3, 3)), spread_directions(30, 1), spread_directions(60, 2)])
    shells = cluster_shells(BVALS)
    responses = {
        tissue: Response(tissue, shells.bvals, coefficients)
        for tissue, coefficients in true_responses(shells.bvals).items()
    }
    return GradientTable(BVALS, bvecs), shells, responses


def spread_directions(n_direction: int, seed: int) -> np.ndarray:
    """Spread directions evenly over the sphere, on a randomly turned spiral."""
    height = 1 - (2 * np.arange(n_direction) + 1) / n_direction
    angle = np.pi * (1 + 5**0.5) * np.arange(n_direction)
    radius = np.sqrt(1 - height**2)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
    return points @ Rotation.random(random_state=seed).as_matrix()


def scan_fibres(fibres: np.ndarray, table: GradientTable) -> np.ndarray:
    cosine = fibres @ table.bvecs_ras.T
    signal = S0["WM"] * fibre_signal(table.bvals, cosine, MEAN_INTRA_FRACTION)
    return signal[:, None, None, :]  # (x, 1, 1, volume)


def main_directions(fodf_sh: np.ndarray) -> np.ndarray:
    sphere = default_sphere.subdivide(n=2).vertices
    degree = degree_of_count(fodf_sh.shape[-1])
    amplitude = fodf_sh.reshape(-1, fodf_sh.shape[-1]) @ sh_basis(sphere, degree).T
    return sphere[np.argmax(amplitude, axis=1)]


def angles_deg(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip(np.abs((first * second).sum(axis=1)), 0, 1)))
