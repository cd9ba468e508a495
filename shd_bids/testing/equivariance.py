"""How far a network is from turning and moving its output with its input.

A network here is any callable on signals of the layout ``(vertex, batch, x, y, z, channel)``.
Errors are relative: the norm of the discrepancy over the norm of the output's deviation from its
mean, so that a large constant does not hide anything (Elaldi et al. 2024, arXiv 2411.11819,
appendix on equivariance).
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from shd_bids.sphere.harmonics import fit_matrix, sh_basis
from shd_bids.sphere.healpix import hemisphere
from shd_bids.sphere.rotations import grid_symmetries, random_rotation, sh_rotation

Network = Callable[[Tensor], Tensor]

_SPATIAL_AXES = (2, 3, 4)


@torch.no_grad()
def grid_equivariance_error(
    network: Network, signal: Float[Tensor, "vertex batch n n n channel"]
) -> float:
    """Give the largest relative error over the 48 symmetries of the voxel grid.

    The voxels move, the gradients stay: what a voxel holds is not changed.

    Parameters
    ----------
    network
        Callable under test; keeps the spatial shape.
    signal
        Cubic patch.

    Returns
    -------
    error
        0 for exact equivariance, about 1 for none.
    """
    output = network(signal)
    return max(
        _relative_error(network(_move_voxels(signal, matrix)), _move_voxels(output, matrix))
        for matrix in grid_symmetries()
    )


@torch.no_grad()
def translation_equivariance_error(
    network: Network,
    signal: Float[Tensor, "vertex batch x y z channel"],
    *,
    shift: int,
    margin: int,
    axes: tuple[int, ...] = _SPATIAL_AXES,
) -> float:
    """Give the largest relative error of shifting the patch along an axis.

    Two windows are cut out of the signal, ``shift`` voxels apart; where they overlap, and
    ``margin`` voxels away from the edges of both, their outputs should agree.

    Parameters
    ----------
    network
        Callable under test; keeps the spatial shape.
    signal
        Patch longer than ``2 * (shift + margin)`` voxels along those axes.
    shift
        Voxels; a multiple of the network's spatial pooling.
    margin
        Voxels that see the edge of a window: the radius of the receptive field.
    axes
        Axes of the signal, of 2, 3 and 4.
    """
    errors = []
    for axis in axes:
        length = signal.shape[axis] - shift
        first = network(signal.narrow(axis, 0, length))
        second = network(signal.narrow(axis, shift, length))
        kept = length - shift - 2 * margin
        errors.append(
            _relative_error(
                second.narrow(axis, margin, kept), first.narrow(axis, shift + margin, kept)
            )
        )
    return max(errors)


@torch.no_grad()
def sphere_equivariance_error(
    network: Network,
    n_side: int,
    *,
    n_channel: int,
    lmax: int = 4,
    n_rotation: int = 4,
    patch: int = 1,
    random_seed: int = 0,
) -> float:
    """Give the mean relative error over random rotations of the sphere.

    Random functions of degree up to ``lmax`` are rotated exactly, by their SH coefficients; the
    output is compared in the same coefficients. A graph convolution is equivariant up to an error
    that falls as the grid gets finer.

    Parameters
    ----------
    network
        Callable under test, on the hemisphere with ``6 n_side^2`` vertices.
    n_side
        HEALPix resolution.
    n_channel
        Input channels.
    lmax
        Degree of the random functions, well below what the grid carries.
    n_rotation
        Rotations drawn.
    patch
        Edge of the patch in voxels.
    random_seed
        Of the functions and rotations.
    """
    return _mean_rotation_error(
        network, n_side, n_channel, lmax, n_rotation, patch, random_seed, move_voxels=False
    )


@torch.no_grad()
def joint_equivariance_error(
    network: Network,
    n_side: int,
    *,
    n_channel: int,
    lmax: int = 4,
    n_rotation: int = 4,
    patch: int = 2,
    random_seed: int = 0,
) -> float:
    """Give the mean relative error where sphere and voxel grid turn, each in its own way.

    As ``sphere_equivariance_error``, with a random symmetry of the voxel grid beside each rotation
    of the sphere: the two groups are independent for a network equivariant to their product.

    Parameters
    ----------
    network, n_side, n_channel, lmax, n_rotation, patch, random_seed
        As in ``sphere_equivariance_error``.
    """
    return _mean_rotation_error(
        network, n_side, n_channel, lmax, n_rotation, patch, random_seed, move_voxels=True
    )


def _mean_rotation_error(
    network: Network,
    n_side: int,
    n_channel: int,
    lmax: int,
    n_rotation: int,
    patch: int,
    random_seed: int,
    *,
    move_voxels: bool,
) -> float:
    generator = np.random.default_rng(random_seed)
    vertices = hemisphere(n_side).vertices
    basis = torch.as_tensor(sh_basis(vertices, lmax)).float()
    fit = torch.as_tensor(fit_matrix(vertices, lmax)).float()
    shape = (basis.shape[1], 1, patch, patch, patch, n_channel)
    coefficients = torch.as_tensor(generator.standard_normal(shape)).float()
    output = _along_vertices(fit, network(_along_vertices(basis, coefficients)))
    errors = []
    for _ in range(n_rotation):
        turn = torch.as_tensor(sh_rotation(random_rotation(generator), lmax)).float()
        expected, turned = _along_vertices(turn, output), _along_vertices(turn, coefficients)
        if move_voxels:
            matrix = generator.choice(grid_symmetries())
            expected, turned = _move_voxels(expected, matrix), _move_voxels(turned, matrix)
        actual = _along_vertices(fit, network(_along_vertices(basis, turned)))
        errors.append(_relative_error(actual, expected, skip=1))
    return float(np.mean(errors))


def _along_vertices(matrix: Tensor, signal: Tensor) -> Tensor:
    """Apply a matrix to the first axis."""
    return torch.tensordot(matrix, signal, dims=([1], [0]))


def _move_voxels(signal: Tensor, matrix: np.ndarray) -> Tensor:
    """Apply a grid symmetry to the voxels: the voxel at ``p`` goes to ``matrix @ p``."""
    source = [int(np.flatnonzero(row)[0]) for row in matrix]
    moved = signal.permute(0, 1, *(_SPATIAL_AXES[axis] for axis in source), 5)
    backwards = [axis for axis, row in zip(_SPATIAL_AXES, matrix, strict=True) if row.sum() < 0]
    return moved.flip(backwards)


def _relative_error(actual: Tensor, expected: Tensor, *, skip: int = 0) -> float:
    """Compare; the first ``skip`` entries (the mean over the sphere, in SH) do not scale it."""
    if skip:
        scale = expected[skip:]
    else:
        scale = expected - expected.mean(dim=tuple(range(expected.ndim - 1)), keepdim=True)
    return float((actual - expected).norm() / scale.norm())
