"""Sums over the neighbours of each voxel at each distance, and their transpose.

With n_x the operator that adds the two neighbours along x, the sums over the centre, the 6 faces,
the 12 edges and the 8 corners of a 3x3x3 neighbourhood are the elementary symmetric polynomials
of n_x, n_y, n_z: the coefficients of t in (1 + t n_x)(1 + t n_y)(1 + t n_z).
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

#: Distance classes of the 3x3x3 neighbourhood: centre, 6 faces, 12 edges, 8 corners.
N_DISTANCE = 4
SPATIAL_AXES = (2, 3, 4)


def pad_border(
    signal: Float[Tensor, "vertex batch x y z channel"], *, repeat: bool
) -> Float[Tensor, "vertex batch x_2 y_2 z_2 channel"]:
    """Add a voxel on each side of the volume: zeros, or the voxels at the border repeated."""
    vertex, batch, *shape, channel = signal.shape
    grown = [length + 2 for length in shape]
    make = signal.new_empty if repeat else signal.new_zeros
    padded = make(vertex, batch, *grown, channel)
    _inside(padded).copy_(signal)
    if repeat:
        for axis, (source, target) in _borders(padded):
            padded.select(axis, target).copy_(padded.select(axis, source))
    return padded


def pad_border_adjoint(
    padded: Float[Tensor, "vertex batch x_2 y_2 z_2 channel"], *, repeat: bool
) -> Float[Tensor, "vertex batch x y z channel"]:
    """Apply the transpose of ``pad_border``; ``padded`` is changed."""
    if repeat:
        for axis, (source, target) in reversed(_borders(padded)):
            padded.select(axis, source).add_(padded.select(axis, target))
    return _inside(padded)


def _inside(padded: Tensor) -> Tensor:
    for axis in SPATIAL_AXES:
        padded = padded.narrow(axis, 1, padded.shape[axis] - 2)
    return padded


def _borders(padded: Tensor) -> list[tuple[int, tuple[int, int]]]:
    """List, axis by axis, which slice of the padded volume each border repeats."""
    return [
        (axis, pair)
        for axis in SPATIAL_AXES
        for pair in ((1, 0), (padded.shape[axis] - 2, padded.shape[axis] - 1))
    ]


def distance_sums(
    padded: Float[Tensor, "vertex batch x_2 y_2 z_2 channel"],
) -> Float[Tensor, "vertex batch x y z distance_channel"]:
    """Sum the neighbours at each distance class; the classes are concatenated over the channels."""
    terms = [padded]
    for axis in reversed(SPATIAL_AXES):
        length = padded.shape[axis] - 2
        centres = [term.narrow(axis, 1, length) for term in terms]
        sums = [term.narrow(axis, 0, length) + term.narrow(axis, 2, length) for term in terms]
        for total, centre in zip(sums, centres[1:], strict=False):
            total.add_(centre)
        terms = [centres[0], *sums]
    return torch.cat(terms, dim=-1)


def distance_sums_adjoint(
    sums: Float[Tensor, "vertex batch x y z distance_channel"],
) -> Float[Tensor, "vertex batch x_2 y_2 z_2 channel"]:
    """Apply the transpose of ``distance_sums``."""
    terms = list(sums.chunk(N_DISTANCE, dim=-1))
    for axis in SPATIAL_AXES:
        length = sums.shape[axis]
        spread = []
        for centre, shifted in pairwise(terms):
            shape = list(centre.shape)
            shape[axis] += 2
            total = centre.new_zeros(shape)
            total.narrow(axis, 1, length).copy_(centre)
            total.narrow(axis, 0, length).add_(shifted)
            total.narrow(axis, 2, length).add_(shifted)
            spread.append(total)
        terms = spread
    return terms[0]
