"""The E(3) x SO(3) convolution on voxels that each carry a hemisphere, and its pooling.

Signals have the layout ``(vertex, batch, x, y, z, channel)`` from the input of the network to its
output: filtering over the sphere is then one product from the left, mixing channels one product
from the right, and neither needs a permutation.
"""

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from shd_bids.sphere.graph import chebyshev_polynomials
from shd_bids.sphere.healpix import Hemisphere

#: Distance classes of the 3x3x3 neighbourhood: centre, 6 faces, 12 edges, 8 corners.
N_DISTANCE = 4
_N_TAP = 27
_BIAS = 0.01


def _add_neighbours(
    total: Float[Tensor, "vertex batch x y z channel"],
    signal: Float[Tensor, "vertex batch x y z channel"],
    axis: int,
) -> None:
    """Add to ``total`` the two neighbours along an axis of every voxel, zero outside."""
    length = signal.shape[axis]
    if length < 2:
        return
    total.narrow(axis, 1, length - 1).add_(signal.narrow(axis, 0, length - 1))
    total.narrow(axis, 0, length - 1).add_(signal.narrow(axis, 1, length - 1))


def _distance_sums(
    signal: Float[Tensor, "vertex batch x y z channel"],
) -> Float[Tensor, "vertex batch x y z distance_channel"]:
    """Sum the neighbours at each distance class; the classes are concatenated over the channels.

    With n_x the operator that adds the two neighbours along x, the sums are the elementary
    symmetric polynomials of n_x, n_y, n_z: the coefficients of t in (1+t n_x)(1+t n_y)(1+t n_z).
    """
    sums = [signal]
    for axis in (4, 3, 2):
        grown = [term.clone() for term in sums[1:]] + [torch.zeros_like(signal)]
        for lower, total in zip(sums, grown, strict=True):
            _add_neighbours(total, lower, axis)
        sums = [signal, *grown]
    return torch.cat(sums, dim=-1)


def _scaled_sums(
    signal: Float[Tensor, "vertex batch x y z channel"],
    factor: Float[Tensor, "x y z distance"] | None,
) -> Float[Tensor, "vertex batch x y z distance_channel"]:
    sums = _distance_sums(signal)
    if factor is not None:
        sums.unflatten(-1, (N_DISTANCE, -1)).mul_(factor.unsqueeze(-1))
    return sums


def _distance_sums_adjoint(
    sums: Float[Tensor, "vertex batch x y z distance_channel"],
) -> Float[Tensor, "vertex batch x y z channel"]:
    """Apply the transpose of ``_distance_sums`` by Horner's scheme (each n is symmetric)."""
    terms = [term.contiguous() for term in sums.chunk(N_DISTANCE, dim=-1)]
    for axis in (4, 3, 2):
        for lower, higher in pairwise(terms):
            _add_neighbours(lower, higher, axis)
        terms = terms[:-1]
    return terms[0]


def _border_factor(
    signal: Float[Tensor, "vertex batch x y z channel"],
) -> Float[Tensor, "x y z distance"]:
    """Give what the sums near the border of the volume lack: class size over neighbours present."""
    ones = signal.new_ones(1, 1, *signal.shape[2:5], 1)
    count = _distance_sums(ones)[0, 0]
    size = signal.new_tensor([1.0, 6.0, 12.0, 8.0])
    return torch.where(count > 0, size / count.clamp(min=1.0), torch.zeros_like(count))


class _HybridConvolution(torch.autograd.Function):
    """``y = sum_k T_k(L) [sums of x] W_k`` without storing what can be computed again.

    ``factor`` scales the sums of each voxel and distance class; None leaves them.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        signal: Float[Tensor, "vertex batch x y z n_in"],
        weight: Float[Tensor, "order distance_n_in n_out"],
        filters: Float[Tensor, "vertex order_vertex"],
        factor: Float[Tensor, "x y z distance"] | None,
        spatial: bool,
    ) -> Float[Tensor, "vertex batch x y z n_out"]:
        ctx.save_for_backward(signal, weight, filters, factor)  # type: ignore[arg-type]  # takes None
        ctx.spatial = spatial  # type: ignore[attr-defined]  # the context takes any attribute
        n_order, _, n_out = weight.shape
        sums = (_scaled_sums(signal, factor) if spatial else signal).view(-1, weight.shape[1])
        mixed = signal.new_empty(n_order, len(sums), n_out)
        for order in range(n_order):
            torch.mm(sums, weight[order], out=mixed[order])
        if n_order == 1:
            return mixed.view(*signal.shape[:-1], n_out)
        return (filters @ mixed.view(filters.shape[1], -1)).view(*signal.shape[:-1], n_out)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, gradient: Float[Tensor, "vertex batch x y z n_out"]
    ) -> tuple[Tensor, Tensor, None, None, None]:
        signal, weight, filters, factor = ctx.saved_tensors  # type: ignore[attr-defined]  # torch ships no type
        spatial = ctx.spatial  # type: ignore[attr-defined]  # set in forward
        n_order, n_row, n_out = weight.shape
        flat = gradient.contiguous().view(signal.shape[0], -1)
        mixed = (filters.T @ flat if n_order > 1 else flat).view(n_order, -1, n_out)
        sums = (_scaled_sums(signal, factor) if spatial else signal).view(-1, n_row)
        weight_gradient = torch.stack([sums.T @ mixed[order] for order in range(n_order)])
        sums_gradient = mixed[0] @ weight[0].T
        for order in range(1, n_order):
            sums_gradient.addmm_(mixed[order], weight[order].T)
        sums_gradient = sums_gradient.view(*signal.shape[:-1], n_row)
        if factor is not None:
            sums_gradient.unflatten(-1, (N_DISTANCE, -1)).mul_(factor.unsqueeze(-1))
        signal_gradient = _distance_sums_adjoint(sums_gradient) if spatial else sums_gradient
        return signal_gradient, weight_gradient, None, None, None


class SpatioSphericalConvolution(nn.Module):
    """Filter over the sphere and over the neighbouring voxels at once.

    ``y_o = b_o + sum_i sum_k sum_r A[o,i,k] D[o,i,r] T_k(L+) S_r x_i`` (Elaldi et al. 2024, eq. 6),
    with ``T_k`` Chebyshev polynomials of the hemisphere's Laplacian and ``S_r`` the sum over the
    voxels at distance class r. The two weights are multiplied to one table first, the sums over
    each distance class replace the 27 taps, and channels are mixed before the sphere is filtered.

    Parameters
    ----------
    n_in, n_out
        Channels.
    laplacian
        ``L+`` of the hemisphere, scaled to [-1, 1].
    n_order
        Chebyshev terms; 1 filters each vertex alone.
    spatial
        Whether the 3x3x3 neighbourhood is seen, or only the voxel itself.
    normalise_border
        Whether the sums at the border of the volume are scaled up to what they lack there. Without
        it (zero padding, as the authors have it) a network behaves differently in volumes of
        another size than it was trained on.
    generator
        Source of the initial weights.
    """

    filters: Tensor

    def __init__(
        self,
        n_in: int,
        n_out: int,
        laplacian: Float[np.ndarray, "vertex vertex"],
        *,
        n_order: int = 5,
        spatial: bool = True,
        normalise_border: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.normalise_border = normalise_border and spatial
        polynomials = chebyshev_polynomials(laplacian, n_order)
        stacked = np.concatenate(list(polynomials), axis=1)  # (vertex, order * vertex)
        self.register_buffer("filters", torch.as_tensor(stacked).float(), persistent=False)
        self.spatial = spatial
        self.bias = nn.Parameter(torch.full((n_out,), _BIAS))
        self.spherical_weight = nn.Parameter(torch.empty(n_out, n_in, n_order))
        nn.init.normal_(
            self.spherical_weight, std=(2.0 / (n_in * n_order)) ** 0.5, generator=generator
        )
        if spatial:
            self.spatial_weight = nn.Parameter(torch.empty(n_out, n_in, N_DISTANCE))
            nn.init.normal_(
                self.spatial_weight, std=(2.0 / (_N_TAP * n_in)) ** 0.5, generator=generator
            )

    def table(self) -> Float[Tensor, "order distance_n_in n_out"]:
        """Multiply the spherical with the spatial weights to one table."""
        if not self.spatial:
            return self.spherical_weight.permute(2, 1, 0).contiguous()
        table = torch.einsum("oik,oir->krio", self.spherical_weight, self.spatial_weight)
        return table.flatten(1, 2)

    def forward(
        self, signal: Float[Tensor, "vertex batch x y z n_in"]
    ) -> Float[Tensor, "vertex batch x y z n_out"]:
        """Filter a signal."""
        table = self.table().to(signal.dtype)
        filters = self.filters.to(signal.dtype)
        factor = _border_factor(signal) if self.normalise_border else None
        mixed = _HybridConvolution.apply(signal.contiguous(), table, filters, factor, self.spatial)
        return mixed + self.bias.to(signal.dtype)


class NormalisedActivation(nn.Module):
    """Batch normalisation over everything but the channel, then ReLU."""

    def __init__(self, n_channel: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(n_channel)

    def forward(
        self, signal: Float[Tensor, "vertex batch x y z channel"]
    ) -> Float[Tensor, "vertex batch x y z channel"]:
        """Normalise and rectify."""
        flat = self.norm(signal.view(-1, signal.shape[-1]))
        return functional.relu_(flat).view(signal.shape)


class Pool(nn.Module):
    """Mean over the 4 children of each vertex and, if asked, over 2x2x2 voxels."""

    children_index: Tensor

    def __init__(self, coarse: Hemisphere, *, spatial: bool) -> None:
        super().__init__()
        index = torch.as_tensor(coarse.children)  # (coarse vertex, 4)
        self.register_buffer("children_index", index, persistent=False)
        self.spatial = spatial

    def forward(
        self, signal: Float[Tensor, "vertex batch x y z channel"]
    ) -> Float[Tensor, "coarse batch x2 y2 z2 channel"]:
        """Pool a signal; odd sizes are padded by repeating the last voxel."""
        pooled = signal[self.children_index[:, 0]]
        for child in range(1, 4):
            pooled = pooled + signal[self.children_index[:, child]]
        pooled = pooled * 0.25
        if not self.spatial:
            return pooled
        for axis in (2, 3, 4):
            length = pooled.shape[axis]
            if length % 2:
                last = pooled.narrow(axis, length - 1, 1)
                pooled = torch.cat([pooled, last], dim=axis)
            pairs = pooled.unflatten(axis, (-1, 2))
            pooled = 0.5 * (pairs.select(axis + 1, 0) + pairs.select(axis + 1, 1))
        return pooled


class Unpool(nn.Module):
    """Repeat each vertex over its children and, if asked, each voxel over 2x2x2."""

    parent_index: Tensor

    def __init__(self, fine: Hemisphere, *, spatial: bool) -> None:
        super().__init__()
        index = torch.as_tensor(fine.parents)  # (fine vertex,)
        self.register_buffer("parent_index", index, persistent=False)
        self.spatial = spatial

    def forward(
        self,
        signal: Float[Tensor, "coarse batch x2 y2 z2 channel"],
        shape: tuple[int, int, int],
    ) -> Float[Tensor, "vertex batch x y z channel"]:
        """Unpool to a spatial shape."""
        if self.spatial:
            for axis, length in zip((2, 3, 4), shape, strict=True):
                signal = signal.repeat_interleave(2, dim=axis).narrow(axis, 0, length)
        return signal[self.parent_index]
