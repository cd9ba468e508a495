"""Where training starts: a non-negative deconvolution that is smooth along and across fibres.

The network's outputs are amplitudes at the vertices and isotropic coefficients, all non-negative.
The non-negative least-squares solution in exactly these unknowns is the data term's own optimum.
Neighbouring voxels are kept alike, a little more so along a fibre than across it (after fibre
continuity, Reisert and Kiselev 2011, https://doi.org/10.1109/TMI.2011.2112769): the network, whose
convolutions tell no fibre's direction from another's, need not learn that from nothing.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

_N_ALONE = 300
_N_TOGETHER = 100
#: Voxels that are solved at once.
CHUNK = 8192
#: Weight of the squared white matter amplitudes, relative to the largest eigenvalue of the data
#: term; without it the lobes of noise are as many as those of fibres.
_RIDGE = 1e-4
#: Weight of the sum of the white matter amplitudes above their uniform part, over the square root
#: of the number of volumes, for columns of norm 1: without it an isotropic signal that no tissue
#: explains, such as grey matter's with two tissues, becomes a belt of peaks around a fibre.
_SPARSITY = 1e-3
#: Weight of the squared differences to the neighbours, relative to the same eigenvalue, for a
#: mean squared residual that equals the number of volumes.
_CONTINUITY = 50.0
_CONTINUITY_LIMITS = (3e-4, 1e-2)
#: How much a neighbour at a right angle to the vertex counts, beside one straight along it.
_ACROSS = 0.5


def neighbour_weights(
    vertices: Float[Tensor, "vertex 3"], axes_ras: Float[Tensor, "3 3"]
) -> Float[Tensor, "3 vertex"]:
    """Weigh the pair of neighbours along each voxel axis, for each vertex; six sum to 1.

    Parameters
    ----------
    vertices
        Unit vectors, RAS.
    axes_ras
        One column per voxel axis: the step to the next voxel, mm.
    """
    length = torch.linalg.vector_norm(axes_ras, dim=0)
    cosine = vertices @ (axes_ras / length)  # (vertex, axis)
    weight = (_ACROSS + cosine.square()) / length.square()
    return (0.5 * weight / weight.sum(dim=1, keepdim=True)).T.contiguous()


@torch.inference_mode()
def non_negative_start(
    dwi: Float[Tensor, "row volume"],
    dictionary: Float[Tensor, "volume unknown"],
    weights: Float[Tensor, "3 vertex"],
    neighbours: Int[Tensor, "row 6"],
) -> Float[Tensor, "row unknown"]:
    """Solve ``min |D f - s|^2`` for ``f >= 0``, with a ridge and continuity of the vertices.

    The amplitudes of the vertices are a uniform part, which costs nothing, and what rises above it.
    Accelerated projected gradients with adaptive restart (O'Donoghue and Candes 2015,
    https://doi.org/10.1007/s10208-013-9150-3), all voxels together: first each alone, then with
    their neighbours. Unknowns are scaled so that every column of the dictionary has the same norm.

    Parameters
    ----------
    dwi
        Signal of each voxel; the first row is zero and stands for what is outside the mask.
    dictionary
        Signal of each unknown: vertices, then isotropic tissues.
    weights
        As ``neighbour_weights`` gives them.
    neighbours
        Rows of the neighbours before and after each voxel, axis by axis; 0 where there is none.
    """
    n_vertex = weights.shape[1]
    uniform = dictionary[:, :n_vertex].sum(dim=1, keepdim=True)
    dictionary = torch.cat([dictionary, uniform], dim=1)
    scale = 1.0 / torch.linalg.vector_norm(dictionary, dim=0)
    scaled = dictionary * scale
    gram = scaled.T @ scaled
    largest = float(torch.linalg.eigvalsh(gram.double())[-1])
    gram.diagonal()[:n_vertex] += _RIDGE * largest
    correlation = dwi @ scaled
    correlation[:, :n_vertex] -= _SPARSITY * len(dictionary) ** 0.5
    step = 1.0 / (largest * (1.0 + _RIDGE))
    alone = [_solve_alone(part, gram, step) for part in correlation.split(CHUNK)]
    solution = torch.cat(alone)
    # The variance of noise over the number of volumes, which the noise of the unknowns goes by.
    noise = (dwi - solution @ scaled.T)[1:].square().mean(dim=1).median() / len(dictionary)
    continuity = float(_CONTINUITY * noise)
    continuity = min(max(continuity, _CONTINUITY_LIMITS[0]), _CONTINUITY_LIMITS[1])
    step /= 1.0 + 2.0 * continuity
    pull = torch.zeros(3, len(gram), device=gram.device)
    pull[:, :n_vertex] = continuity * largest * weights
    solution = _solve_together(solution, correlation, gram, step, pull, neighbours) * scale
    solution[:, :n_vertex] += solution[:, -1:]
    return solution[:, :-1]


def _solve_alone(
    correlation: Float[Tensor, "voxel unknown"],
    gram: Float[Tensor, "unknown unknown"],
    step: float,
) -> Float[Tensor, "voxel unknown"]:
    solution = torch.zeros_like(correlation)
    extrapolated, momentum = solution, torch.ones(len(correlation), 1, device=correlation.device)
    for _ in range(_N_ALONE):
        gradient = torch.addmm(correlation, extrapolated, gram, beta=-1)
        solution, extrapolated, momentum = _advance(
            solution, extrapolated, gradient, momentum, step
        )
    return solution


def _solve_together(
    solution: Float[Tensor, "row unknown"],
    correlation: Float[Tensor, "row unknown"],
    gram: Float[Tensor, "unknown unknown"],
    step: float,
    pull: Float[Tensor, "3 unknown"],
    neighbours: Int[Tensor, "row 6"],
) -> Float[Tensor, "row unknown"]:
    extrapolated, following = solution.clone(), torch.empty_like(solution)
    momentum = torch.ones(len(solution), 1, device=solution.device)
    # How many neighbours there are along each axis.
    count = (neighbours > 0).view(-1, 3, 2).sum(dim=2).to(pull.dtype)
    for _ in range(_N_TOGETHER):
        for first in range(0, len(solution), CHUNK):
            part = slice(first, first + CHUNK)
            here = extrapolated[part]
            gradient = torch.addmm(correlation[part], here, gram, beta=-1)
            gradient.addcmul_(count[part] @ pull, here)
            for axis, weight in enumerate(pull):
                before, after = neighbours[part, 2 * axis : 2 * axis + 2].unbind(dim=1)
                around = extrapolated[before].add_(extrapolated[after])
                gradient.addcmul_(around, weight, value=-1)
            solution[part], following[part], momentum[part] = _advance(
                solution[part], here, gradient, momentum[part], step
            )
        extrapolated, following = following, extrapolated
    return solution


def _advance(
    solution: Float[Tensor, "voxel unknown"],
    extrapolated: Float[Tensor, "voxel unknown"],
    gradient: Float[Tensor, "voxel unknown"],
    momentum: Float[Tensor, "voxel 1"],
    step: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Take one step; the momentum of a voxel starts again where it points uphill.

    ``gradient`` is overwritten.
    """
    following = torch.add(extrapolated, gradient, alpha=-step).clamp_(min=0.0)
    change = following - solution
    uphill = gradient.mul_(change).sum(dim=1, keepdim=True) > 0
    momentum = torch.where(uphill, torch.ones_like(momentum), momentum)
    grown = 0.5 * (1.0 + torch.sqrt(1.0 + 4.0 * momentum.square()))
    return following, torch.addcmul(following, (momentum - 1.0) / grown, change), grown
