"""Sums over the neighbours of each voxel at each distance, and their transpose.

With n_x the operator that adds the two neighbours along x, the sums over the centre, the 6 faces,
the 12 edges and the 8 corners of a 3x3x3 neighbourhood are the elementary symmetric polynomials
of n_x, n_y, n_z: the coefficients of t in (1 + t n_x)(1 + t n_y)(1 + t n_z). Each n equals its
transpose, whatever lies beyond the border.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

#: Distance classes of the 3x3x3 neighbourhood: centre, 6 faces, 12 edges, 8 corners.
N_DISTANCE = 4
SPATIAL_AXES = (2, 3, 4)


def distance_sums(
    signal: Float[Tensor, "vertex batch x y z channel"], *, repeat_border: bool
) -> Float[Tensor, "vertex batch x y z distance_channel"]:
    """Sum the neighbours at each distance class; the classes are concatenated over the channels.

    Beyond its border the volume goes on as it is there, or with zeros.
    """
    terms = [signal]
    for axis in reversed(SPATIAL_AXES):
        sums = [_add_neighbours(term, axis, repeat_border) for term in terms]
        for total, centre in zip(sums, terms[1:], strict=False):
            total.add_(centre)
        terms = [signal, *sums]
    return torch.cat(terms, dim=-1)


def distance_sums_adjoint(
    sums: Sequence[Float[Tensor, "vertex batch x y z channel"]], *, repeat_border: bool
) -> Float[Tensor, "vertex batch x y z channel"]:
    """Apply the transpose of ``distance_sums`` to one tensor for each distance class."""
    terms = list(sums)
    for axis in SPATIAL_AXES:
        terms = [
            _add_neighbours(shifted, axis, repeat_border).add_(centre)
            for centre, shifted in pairwise(terms)
        ]
    return terms[0]


def _add_neighbours(
    signal: Float[Tensor, "vertex batch x y z channel"], axis: int, repeat_border: bool
) -> Float[Tensor, "vertex batch x y z channel"]:
    """Add the voxels before and after each one along an axis."""
    length = signal.shape[axis]
    if length == 1:
        return 2.0 * signal if repeat_border else torch.zeros_like(signal)
    total = torch.empty_like(signal)
    before, after = (signal.narrow(axis, first, length - 2) for first in (0, 2))
    torch.add(before, after, out=total.narrow(axis, 1, length - 2))
    for edge, inner in ((0, 1), (length - 1, length - 2)):
        border = total.select(axis, edge).copy_(signal.select(axis, inner))
        if repeat_border:
            border.add_(signal.select(axis, edge))
    return total
