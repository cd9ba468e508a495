"""Where training starts: each voxel's own non-negative deconvolution.

The network's outputs are amplitudes at the vertices and isotropic coefficients, all non-negative.
The non-negative least-squares solution in exactly these unknowns is the data term's own optimum
without any knowledge of the neighbours; the network learns what sparsity and the neighbourhood
add to it, instead of learning deconvolution from nothing.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from shd_bids.sphere.harmonics import fit_matrix

from .forward import SignalModel

_N_ITERATION = 500
_CHUNK = 8192
#: Weight of the squared white matter amplitudes, relative to the largest eigenvalue of the data
#: term; without it the lobes of noise are as many as those of fibres.
_RIDGE = 3e-4


def vertex_dictionary(
    model: SignalModel, vertices: Float[np.ndarray, "vertex 3"]
) -> Float[np.ndarray, "volume vertex_isotropic"]:
    """Give the signal of each vertex amplitude, then of each isotropic coefficient."""
    white = model.kernel[:, : model.n_coef] @ fit_matrix(vertices, model.lmax)
    return np.concatenate([white, model.kernel[:, model.n_coef :]], axis=1)


@torch.inference_mode()
def non_negative_start(
    dwi: Float[Tensor, "voxel volume"],
    dictionary: Float[Tensor, "volume unknown"],
    n_vertex: int,
) -> Float[Tensor, "voxel unknown"]:
    """Solve ``min |D f - s|^2`` for ``f >= 0`` in every voxel, with a ridge on the vertices.

    Accelerated projected gradients with adaptive restart (O'Donoghue and Candes 2015,
    https://doi.org/10.1007/s10208-013-9150-3), all voxels together; unknowns are scaled so that
    every column of the dictionary has the same norm.
    """
    scale = 1.0 / torch.linalg.vector_norm(dictionary, dim=0)
    scaled = dictionary * scale
    gram = scaled.T @ scaled
    largest = torch.linalg.eigvalsh(gram.double())[-1].to(gram.dtype)
    gram.diagonal()[:n_vertex] += _RIDGE * largest
    step = 1.0 / (largest * (1.0 + _RIDGE))
    parts = [_solve(chunk @ scaled, gram, float(step)) * scale for chunk in dwi.split(_CHUNK)]
    return torch.cat(parts)


def _solve(
    correlation: Float[Tensor, "voxel unknown"],
    gram: Float[Tensor, "unknown unknown"],
    step: float,
) -> Float[Tensor, "voxel unknown"]:
    solution = torch.zeros_like(correlation)
    extrapolated = solution
    momentum = torch.ones(len(correlation), 1, device=correlation.device)
    for _ in range(_N_ITERATION):
        gradient = extrapolated @ gram - correlation
        following = (extrapolated - step * gradient).clamp_(min=0.0)
        change = following - solution
        # The momentum of a voxel starts again where it points uphill.
        uphill = (gradient * change).sum(dim=1, keepdim=True) > 0
        momentum = torch.where(uphill, torch.ones_like(momentum), momentum)
        grown = 0.5 * (1.0 + torch.sqrt(1.0 + 4.0 * momentum.square()))
        extrapolated = following + ((momentum - 1.0) / grown) * change
        solution, momentum = following, grown
    return solution
