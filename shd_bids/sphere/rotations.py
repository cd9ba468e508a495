"""Rotations of space and of spherical functions."""

from itertools import permutations, product

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from .harmonics import fit_matrix, sh_basis
from .healpix import hemisphere


def random_rotation(generator: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    """Draw a rotation uniformly from SO(3)."""
    return Rotation.random(rng=generator).as_matrix()


def grid_symmetries() -> Float[np.ndarray, "48 3 3"]:
    """Give the 48 rotations and reflections that map the voxel grid onto itself."""
    matrices = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[np.arange(3), order] = signs
            matrices.append(matrix)
    return np.stack(matrices)


def sh_rotation(rotation: Float[np.ndarray, "3 3"], lmax: int) -> Float[np.ndarray, "coef coef"]:
    """Give the matrix that rotates an even SH expansion: ``(R f)(u) = f(R^T u)``.

    Built by evaluating the rotated basis on a grid that determines it, so it is exact up to
    rounding for any orthogonal ``rotation``.
    """
    n_side = 4
    while 6 * n_side**2 < 2 * (lmax + 1) * (lmax + 2) // 2:
        n_side *= 2
    vertices = hemisphere(n_side).vertices
    return fit_matrix(vertices, lmax) @ sh_basis(vertices @ rotation, lmax)
