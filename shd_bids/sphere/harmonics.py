"""Real, even spherical harmonics in the MRtrix3 basis.

This is the one basis of the program: every array named ``*_sh`` holds coefficients of it, ordered
l = 0, 2, 4, ... and m = -l ... l within a degree, for directions in RAS+ world axes.
Negative m go with the sine and positive m with the cosine of ``m phi``; the functions are
orthonormal on the sphere (Tournier et al. 2019, https://doi.org/10.1016/j.neuroimage.2019.116137).
"""

from functools import lru_cache

import numpy as np
from dipy.core.geometry import cart2sphere
from dipy.reconst.shm import real_sh_tournier_from_index
from jaxtyping import Float, Int


def count_coefficients(lmax: int) -> int:
    """Count the coefficients of an even expansion up to degree ``lmax``.

    Examples
    --------
    >>> count_coefficients(8)
    45
    """
    return (lmax + 1) * (lmax + 2) // 2


def degree_of_count(n_coef: int) -> int:
    """Give the ``lmax`` of an even expansion with ``n_coef`` coefficients.

    Raises
    ------
    ValueError
        If no even expansion has that many coefficients.

    Examples
    --------
    >>> degree_of_count(45)
    8
    """
    lmax = round((np.sqrt(8.0 * n_coef + 1.0) - 3.0) / 2.0)
    if lmax % 2 or count_coefficients(lmax) != n_coef:
        raise ValueError(f"{n_coef} is not the number of coefficients of an even SH expansion.")
    return lmax


def largest_degree(n_direction: int, lmax: int) -> int:
    """Limit ``lmax`` to what ``n_direction`` directions can determine.

    Examples
    --------
    >>> largest_degree(30, 8), largest_degree(64, 8), largest_degree(5, 8)
    (6, 8, 0)
    """
    while lmax > 0 and count_coefficients(lmax) > n_direction:
        lmax -= 2
    return lmax


@lru_cache(maxsize=32)
def _degrees_and_orders(lmax: int) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(l, m) for l in range(0, lmax + 1, 2) for m in range(-l, l + 1)]  # noqa: E741  # the field's symbol
    degrees, orders = np.array(pairs, dtype=int).T
    return degrees, orders


def degrees_of_coefficients(lmax: int) -> Int[np.ndarray, " coef"]:
    """Give the degree l of every coefficient."""
    return _degrees_and_orders(lmax)[0].copy()


def sh_basis(
    directions: Float[np.ndarray, "direction 3"], lmax: int
) -> Float[np.ndarray, "direction coef"]:
    """Evaluate the basis functions at unit directions (RAS+ axes).

    Parameters
    ----------
    directions
        Unit vectors. A zero vector is taken as +z; only its l=0 column is meaningful.
    lmax
        Largest degree, even.

    Returns
    -------
    basis
        ``basis @ coefficients`` are the amplitudes; equal to MRtrix3's ``sh2amp``.
    """
    _, theta, phi = cart2sphere(*np.asarray(directions, dtype=float).T)
    theta = np.where(np.linalg.norm(directions, axis=1) > 0, theta, 0.0)
    degrees, orders = _degrees_and_orders(lmax)
    return real_sh_tournier_from_index(orders, degrees, theta[:, None], phi[:, None], legacy=False)


def fit_matrix(
    directions: Float[np.ndarray, "direction 3"], lmax: int, ridge: float = 0.0
) -> Float[np.ndarray, "coef direction"]:
    """Give the matrix that fits SH coefficients to amplitudes by least squares.

    Parameters
    ----------
    directions
        Unit vectors.
    lmax
        Largest degree, even.
    ridge
        Weight of the Laplace-Beltrami penalty ``l^2 (l+1)^2`` (Descoteaux et al. 2007,
        https://doi.org/10.1002/mrm.21277), 0.006 there.
    """
    basis = sh_basis(directions, lmax)
    degrees = degrees_of_coefficients(lmax).astype(float)
    penalty = np.sqrt(ridge) * np.diag(degrees * (degrees + 1.0))
    stacked = np.vstack([basis, penalty])
    return np.linalg.pinv(stacked)[:, : len(directions)]
