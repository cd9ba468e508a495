"""The E(3) x SO(3) convolution on voxels that each carry a hemisphere, and its pooling.

Signals have the layout ``(vertex, batch, x, y, z, channel)`` from the input of the network to its
output: filtering over the sphere is then one product from the left, mixing channels one product
from the right, and neither needs a permutation.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from shd_bids.sphere.graph import chebyshev_polynomials
from shd_bids.sphere.healpix import Hemisphere

from .neighbours import distance_sums, distance_sums_adjoint
from .weights import SpatioSphericalWeights

#: Bytes of the input that are summed over their neighbours at once: what a core's cache holds with
#: the sums of it.
_BLOCK_BYTES = 2**19


class _Convolution(torch.autograd.Function):
    """``y = b + sum_k T_k(L) [sums of x] W_k``, with T_0 the identity.

    The sums are made for a few vertices at a time, and made again for the gradient. With weights
    for one distance there is no sum: each voxel is alone.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        signal: Float[Tensor, "vertex batch x y z n_in"],
        weight: Float[Tensor, "order distance n_in n_out"],
        bias: Float[Tensor, " n_out"],
        filters: Float[Tensor, "order vertex vertex"],
        repeat_border: bool,
        rectify: bool,
    ) -> Float[Tensor, "vertex batch x y z n_out"]:
        ctx.repeat_border = repeat_border  # type: ignore[attr-defined]  # the context takes any attribute
        n_order, n_out = weight.shape[0], weight.shape[-1]
        table = _columns(weight).flatten(0, 1)
        n_vertex = len(signal)
        mixed = signal.new_empty(n_order, n_vertex, signal[0, ..., 0].numel(), n_out)
        for block in _blocks(signal):
            part = _sums(signal[block], weight, repeat_border) @ table
            mixed[:, block] = part.view(-1, mixed.shape[2], n_order, n_out).permute(2, 0, 1, 3)
        output = mixed[0].add_(bias).view(n_vertex, -1)
        if n_order > 1:
            wide = filters[1:].transpose(0, 1).flatten(1, 2)  # (vertex, order vertex)
            output = torch.addmm(output, wide, mixed[1:].flatten(0, 1).flatten(1))
        output = output.view(*signal.shape[:-1], n_out)
        return _finish(ctx, output, rectify, signal, weight, filters)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, gradient: Float[Tensor, "vertex batch x y z n_out"]
    ) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        gradient, signal, weight, filters = _resume(ctx, gradient)
        repeat_border = ctx.repeat_border  # type: ignore[attr-defined]  # set in forward
        n_order, n_distance, n_in, n_out = weight.shape
        flat = gradient.view(len(signal), -1)
        mixed = gradient.new_empty(n_order, len(signal), flat.shape[1] // n_out, n_out)
        mixed[0].view(flat.shape).copy_(flat)
        if n_order > 1:
            polynomials = filters[1:].transpose(1, 2).flatten(0, 1)
            torch.mm(polynomials, flat, out=mixed[1:].view(-1, flat.shape[1]))
        table = _columns(weight)
        table_gradient = torch.zeros_like(table).flatten(0, 1)
        signal_gradient = torch.empty_like(signal)
        for block in _blocks(signal):
            part = mixed[:, block].permute(1, 2, 0, 3).reshape(-1, table.shape[2])
            table_gradient.addmm_(_sums(signal[block], weight, repeat_border).T, part)
            spread = [(part @ rows.T).view(signal[block].shape) for rows in table]
            signal_gradient[block] = _sums_adjoint(spread, repeat_border)
        bias_gradient = gradient.sum(dim=(0, 1, 2, 3, 4))
        table_gradient = table_gradient.view(n_distance, n_in, n_order, n_out)
        return signal_gradient, table_gradient.permute(2, 0, 1, 3), bias_gradient, None, None, None


def _columns(
    weight: Float[Tensor, "order distance n_in n_out"],
) -> Float[Tensor, "distance n_in order_n_out"]:
    """Lay the weights out so that one product mixes the channels for every order."""
    return weight.permute(1, 2, 0, 3).flatten(2)


def _sums(
    signal: Float[Tensor, "vertex batch x y z n_in"],
    weight: Float[Tensor, "order distance n_in n_out"],
    repeat_border: bool,
) -> Float[Tensor, "row distance_n_in"]:
    """Give the sums that the weights are for."""
    if weight.shape[1] == 1:
        return signal.reshape(-1, signal.shape[-1])
    return distance_sums(signal, repeat_border=repeat_border).flatten(0, 4)


def _sums_adjoint(
    sums: list[Float[Tensor, "vertex batch x y z n_in"]], repeat_border: bool
) -> Float[Tensor, "vertex batch x y z n_in"]:
    """Apply the transpose of ``_sums`` to one tensor for each distance of the weights."""
    if len(sums) == 1:
        return sums[0]
    return distance_sums_adjoint(sums, repeat_border=repeat_border)


def _finish(ctx: FunctionCtx, output: Tensor, rectify: bool, *saved: Tensor) -> Tensor:
    """Rectify in place, if asked, and keep what the gradient needs."""
    if rectify:
        output.relu_()
    ctx.save_for_backward(*saved, *([output] if rectify else []))
    return output


def _resume(ctx: FunctionCtx, gradient: Tensor) -> list[Tensor]:
    """Give the gradient before rectification, and what was kept."""
    signal, weight, filters, *rectified = ctx.saved_tensors  # type: ignore[attr-defined]  # torch ships no type
    gradient = gradient.contiguous()
    for output in rectified:
        gradient = torch.ops.aten.threshold_backward(gradient, output, 0)
    return [gradient, signal, weight, filters]


def _filter(
    signal: Float[Tensor, "vertex batch x y z n_in"], filters: Float[Tensor, "order vertex vertex"]
) -> Float[Tensor, "vertex batch x y z order_n_in"]:
    """Give what every filter makes of a signal, beside each other in the channels."""
    rest = [torch.tensordot(matrix, signal, 1) for matrix in filters[1:]]
    return torch.cat([signal, *rest], dim=-1)


def _blocks(signal: Float[Tensor, "vertex batch x y z n_in"]) -> list[slice]:
    """Cut the vertices in blocks whose signal stays in the cache."""
    n_vertex = len(signal)
    size = signal[0].numel() * signal.element_size()
    length = max(_BLOCK_BYTES // size, 1) if signal.device.type == "cpu" else n_vertex
    return [slice(first, first + length) for first in range(0, n_vertex, length)]


class SpatioSphericalConvolution(SpatioSphericalWeights):
    """Filter over the sphere and over the neighbouring voxels at once.

    ``y_o = b_o + sum_i sum_k sum_r A[o,i,k] D[o,i,r] T_k(L+) S_r x_i`` (Elaldi et al. 2024, eq. 6),
    with ``T_k`` Chebyshev polynomials of the hemisphere's Laplacian and ``S_r`` the sum over the
    voxels at distance class r. The two weights are multiplied to one table first, the sums over
    each distance class replace the 27 taps, and channels are mixed before the sphere is filtered,
    unless few channels enter.

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
    repeat_border
        Whether the volume goes on beyond its border as it is there. Without it (zeros, as the
        authors have it) a network behaves differently in volumes of another size than it was
        trained on.
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
        repeat_border: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(n_in, n_out, n_order=n_order, spatial=spatial, generator=generator)
        self.repeat_border = repeat_border
        polynomials = chebyshev_polynomials(laplacian, n_order)
        self.register_buffer("filters", torch.as_tensor(polynomials).float(), persistent=False)
        # What is filtered comes first where that makes no more channels than leave.
        self.filters_first = n_order > 1 and n_order * n_in <= n_out

    def table(self) -> Float[Tensor, "order distance n_in n_out"]:
        """Multiply the spherical with the spatial weights to one table."""
        if not self.spatial:
            return self.spherical_weight.permute(2, 1, 0).unsqueeze(1)
        return torch.einsum("oik,oir->krio", self.spherical_weight, self.spatial_weight)

    def forward(
        self,
        signal: Float[Tensor, "vertex batch x y z n_in"],
        gain: Float[Tensor, " n_out"] | None = None,
        offset: Float[Tensor, " n_out"] | None = None,
        *,
        rectify: bool = False,
    ) -> Float[Tensor, "vertex batch x y z n_out"]:
        """Filter a signal, then scale and shift each channel and rectify, where asked."""
        table, bias = self.table(), self.bias
        if gain is not None and offset is not None:
            table, bias = table * gain, bias * gain + offset
        filters = self.filters.to(signal.dtype)
        if self.filters_first:
            signal, table = _filter(signal, filters), table.transpose(0, 1).flatten(1, 2)[None]
        weights = table.to(signal.dtype), bias.to(signal.dtype), filters
        return _Convolution.apply(signal.contiguous(), *weights, self.repeat_border, rectify)


class NormalisedActivation(nn.Module):
    """Batch normalisation over everything but the channel, then ReLU, after a convolution.

    Where the statistics stand fixed, normalising is one more factor of the convolution's weights.
    """

    def __init__(self, n_channel: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(n_channel)

    def forward(
        self,
        convolution: SpatioSphericalConvolution,
        signal: Float[Tensor, "vertex batch x y z n_in"],
    ) -> Float[Tensor, "vertex batch x y z n_out"]:
        """Convolve, normalise and rectify."""
        norm, mean, variance = self.norm, self.norm.running_mean, self.norm.running_var
        if norm.training or mean is None or variance is None:
            filtered = convolution(signal)
            return functional.relu_(norm(filtered.view(-1, norm.num_features))).view(filtered.shape)
        gain = norm.weight * torch.rsqrt(variance + norm.eps)
        offset = norm.bias - mean * gain
        return convolution(signal, gain, offset, rectify=True)


class Pool(nn.Module):
    """Mean over the 4 children of each vertex and, if asked, over 2x2x2 voxels."""

    mean_of_children: Tensor

    def __init__(self, coarse: Hemisphere, *, spatial: bool) -> None:
        super().__init__()
        children = torch.as_tensor(coarse.children)  # (coarse vertex, 4)
        mean = torch.zeros(len(children), children.numel()).scatter_(1, children, 0.25)
        self.register_buffer("mean_of_children", mean, persistent=False)
        self.spatial = spatial

    def forward(
        self, signal: Float[Tensor, "vertex batch x y z channel"]
    ) -> Float[Tensor, "coarse batch x2 y2 z2 channel"]:
        """Pool a signal; odd sizes are padded by repeating the last voxel."""
        pooled = torch.tensordot(self.mean_of_children.to(signal.dtype), signal, 1)
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
