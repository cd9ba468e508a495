"""Graph Laplacians of HEALPix grids and Chebyshev polynomials of them.

Filters that are polynomials of the Laplacian of this graph are nearly rotation equivariant
(Perraudin et al. 2019, https://doi.org/10.1016/j.ascom.2019.03.004; Defferrard et al. 2020,
arXiv 2012.15000).
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist

from .healpix import hemisphere

N_NEIGHBOUR = 8
#: Chord distance at which an edge weighs one half, times n_side (DeepSphere's tuned width).
HALF_WEIGHT_CHORD = 0.8
_TIE = 1e-9


@lru_cache(maxsize=16)
def _sphere_laplacian(n_side: int) -> np.ndarray:
    vertices = hemisphere(n_side).sphere
    distance = cdist(vertices, vertices)
    np.fill_diagonal(distance, np.inf)
    # Pixels at the distance of the 8th neighbour all count, or the graph would lose its symmetry.
    reach = np.sort(distance, axis=1)[:, N_NEIGHBOUR - 1 : N_NEIGHBOUR] + _TIE
    near = distance <= reach
    weight = np.where(near | near.T, 2.0 ** -((distance * n_side / HALF_WEIGHT_CHORD) ** 2), 0.0)
    scale = 1.0 / np.sqrt(weight.sum(axis=1))
    laplacian = np.eye(len(vertices)) - scale[:, None] * weight * scale
    laplacian *= 2.0 / np.linalg.eigvalsh(laplacian)[-1]
    return laplacian - np.eye(len(vertices))


def sphere_laplacian(n_side: int) -> Float[np.ndarray, "pixel pixel"]:
    """Give the normalised Laplacian of the full sphere, rescaled to eigenvalues in [-1, 1].

    Edges join the 8 nearest neighbours (with ties); their weight is Gaussian in the chord distance.
    """
    return _sphere_laplacian(n_side).copy()


def hemisphere_laplacian(n_side: int) -> Float[np.ndarray, "vertex vertex"]:
    """Give ``L+ = L[N, N] + L[N, antipode(N)]``, which acts on antipodally symmetric signals.

    Filtering the hemisphere with it equals filtering the full sphere and keeping N
    (Elaldi et al. 2024, section 3).
    """
    half = hemisphere(n_side)
    rows = _sphere_laplacian(n_side)[half.pixels]
    return rows[:, half.pixels] + rows[:, half.antipodes[half.pixels]]


def chebyshev_polynomials(
    laplacian: Float[np.ndarray, "vertex vertex"], n_order: int
) -> Float[np.ndarray, "order vertex vertex"]:
    """Give ``T_0(L)`` to ``T_(n_order-1)(L)`` by the recurrence ``T_k = 2 L T_(k-1) - T_(k-2)``."""
    terms = [np.eye(len(laplacian)), laplacian]
    for _ in range(2, n_order):
        terms.append(2.0 * laplacian @ terms[-1] - terms[-2])
    return np.stack(terms[:n_order])
