"""Matching the peaks of an fODF to the fibres that are known to be there."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class Match:
    """Which fibres were found, how far off, and which peaks belong to none."""

    error_deg: Float[np.ndarray, "voxel fibre"]  # NaN where the fibre was missed or is not there
    counted: Bool[np.ndarray, "voxel fibre"]  # fibres that ought to be found
    spurious: Bool[np.ndarray, "voxel peak"]  # peaks without a fibre


def merge_close_fibres(
    directions: Float[np.ndarray, "voxel fibre 3"],
    shares: Float[np.ndarray, "voxel fibre"],
    *,
    closest_deg: float,
) -> tuple[Float[np.ndarray, "voxel fibre 3"], Float[np.ndarray, "voxel fibre"]]:
    """Join fibres that no peak finder would tell apart, into their weighted mean.

    The share of a fibre that was joined to another is zero.
    """
    directions, shares = directions.copy(), shares.copy()
    for a, b in combinations(range(shares.shape[1]), 2):
        cosine = np.einsum("vi,vi->v", directions[:, a], directions[:, b])
        close = np.abs(cosine) > np.cos(np.radians(closest_deg))
        close &= (shares[:, a] > 0) & (shares[:, b] > 0)
        sign = np.where(cosine < 0, -1.0, 1.0)[:, None]
        mean = shares[:, a, None] * directions[:, a] + sign * shares[:, b, None] * directions[:, b]
        mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)
        directions[close, a] = mean[close]
        shares[close, a] += shares[close, b]
        shares[close, b] = 0.0
    return directions, shares


def match_peaks(
    peaks: Float[np.ndarray, "voxel peak 3"],
    directions: Float[np.ndarray, "voxel fibre 3"],
    shares: Float[np.ndarray, "voxel fibre"],
    *,
    tolerance_deg: float,
    least_share: float,
) -> Match:
    """Match peaks and fibres one to one, the closest pair first.

    Parameters
    ----------
    peaks
        Unit vectors, zero where there is no peak.
    directions, shares
        Of the true fibres; the shares of a voxel's white matter.
    tolerance_deg
        A peak farther than this from a fibre does not count as finding it.
    least_share
        Fibres below it need not be found, but a peak that finds one is not spurious.
    """
    is_peak = np.any(peaks != 0, axis=-1)
    counted = shares >= least_share
    angle = np.degrees(np.arccos(np.abs(np.einsum("vfi,vpi->vfp", directions, peaks)).clip(0, 1)))
    there = is_peak[:, None, :] & (shares > 0)[:, :, None]
    angle = np.where(there & (angle <= tolerance_deg), angle, np.inf)  # (voxel, fibre, peak)
    near_minor = np.any(np.isfinite(angle) & ~counted[:, :, None], axis=1)

    error_deg = np.full(shares.shape, np.nan)
    spurious = is_peak.copy()
    open_angle = np.where(counted[:, :, None], angle, np.inf)
    voxels = np.arange(len(shares))
    for _ in range(min(open_angle.shape[1:])):
        flat = open_angle.reshape(len(shares), -1)
        fibre, peak = np.unravel_index(flat.argmin(axis=1), open_angle.shape[1:])
        found = np.isfinite(open_angle[voxels, fibre, peak])
        voxel, fibre, peak = voxels[found], fibre[found], peak[found]
        error_deg[voxel, fibre] = open_angle[voxel, fibre, peak]
        spurious[voxel, peak] = False
        open_angle[voxel, fibre, :] = np.inf
        open_angle[voxel, :, peak] = np.inf
    return Match(error_deg, counted, spurious & ~near_minor)
