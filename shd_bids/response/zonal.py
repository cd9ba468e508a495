"""The zonal response that best explains single-fibre voxels of one shell."""

import numpy as np
from jaxtyping import Float
from scipy.special import eval_legendre

from .cone import ConeSolver

_N_ANGLE = 91


def evaluate_zonal(
    lmax: int, cosine: Float[np.ndarray, "*sample"]
) -> Float[np.ndarray, "*sample degree"]:
    """Evaluate the zonal harmonics Y_l0 for l = 0, 2, ..., lmax.

    Examples
    --------
    >>> evaluate_zonal(0, np.array([1.0])) * np.sqrt(4 * np.pi)
    array([[1.]])
    """
    degrees = np.arange(0, lmax + 1, 2)
    scale = np.sqrt((2 * degrees + 1) / (4 * np.pi))
    return scale * eval_legendre(degrees, cosine[..., None])


def fit_zonal(
    signal: Float[np.ndarray, "voxel volume"],
    cosine: Float[np.ndarray, "voxel volume"],
    lmax: int,
) -> Float[np.ndarray, " degree"]:
    """Fit one zonal function to the signals of many voxels, physically shaped.

    Least squares over all samples of all voxels under two constraints: the signal is nowhere
    negative and never falls from the fibre axis to the plane across it (Smith et al., 2016).

    Parameters
    ----------
    signal
        Signals of one shell.
    cosine
        Cosine of the angle between the gradient and the fibre of the voxel.
    lmax
        Highest degree, even.

    Returns
    -------
    coefficients
        Zonal SH coefficients, degrees 0, 2, ..., lmax, units of ``signal``.
    """
    design = evaluate_zonal(lmax, cosine.ravel().astype(np.float64))
    target = signal.ravel().astype(np.float64)
    scale = max(float(np.abs(target).mean()), 1e-30)
    angles = np.cos(np.linspace(0.0, np.pi / 2, _N_ANGLE))
    amplitude = evaluate_zonal(lmax, angles)
    constraint = np.concatenate([amplitude[:1], np.diff(amplitude, axis=0)])
    normal = design.T @ design / len(design)
    right = design.T @ target / (scale * len(design))
    return scale * ConeSolver.build(normal, constraint).solve(right[None])[0]
