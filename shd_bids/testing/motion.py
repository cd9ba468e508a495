"""How the phantom's head moves through a scan: slow drift and a few jumps, as subjects do."""

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from shd_bids.dwi.transforms import VolumeTransforms

_VOLUMES_PER_JUMP = 25


def draw_motion(
    n_volume: int,
    max_mm: float,
    max_deg: float,
    *,
    generator: np.random.Generator,
    reference: int = 0,
) -> VolumeTransforms:
    """Draw the head's position in each volume; there are no eddy currents.

    Parameters
    ----------
    n_volume
        One position each.
    max_mm, max_deg
        Largest translation and rotation away from the reference.
    reference
        Volume in which the head lies as in the corrected one.
    """
    steps = generator.standard_normal((n_volume, 6))
    drift = gaussian_filter1d(steps.cumsum(axis=0), sigma=n_volume / 10, axis=0)
    jumps = np.zeros((n_volume, 6))
    for volume in generator.integers(1, max(n_volume, 2), size=1 + n_volume // _VOLUMES_PER_JUMP):
        jumps[volume:] += generator.standard_normal(6)
    path = drift / max(drift.std(), 1e-9) + jumps
    path -= path[reference]
    translation_mm = _scale(path[:, :3], max_mm)
    turn = Rotation.from_rotvec(_scale(path[:, 3:], np.deg2rad(max_deg)))
    return VolumeTransforms(translation_mm, turn.as_euler("xyz"), np.zeros((n_volume, 4)))


def _scale(vectors: np.ndarray, largest: float) -> np.ndarray:
    """Give the longest of the vectors this length."""
    return vectors * (largest / max(np.linalg.norm(vectors, axis=1).max(), 1e-9))
