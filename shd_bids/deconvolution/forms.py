"""The convolution of ``layers`` written as its predecessors wrote it, one rung of a ladder each.

From RT-ESD (Elaldi et al. 2023, arXiv 2304.06103), which filters the full sphere by a sparse
recurrence and then convolves 27 taps, to the authors' SHD (Elaldi et al. 2024, figure 4), which
multiplies a hemisphere with precomputed polynomials. All compute the same function of the same
weights as ``SpatioSphericalConvolution``. Signals have the same axes, but lie in memory as
``(batch, channel, vertex, x, y, z)``, as the 27 taps want it; a signal that lies otherwise is
copied once, at the first layer.
"""

from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from shd_bids.sphere.graph import chebyshev_polynomials

from .weights import SpatioSphericalWeights

#: "sphere" and "hemisphere": sparse Laplacian, by recurrence; "dense": the same with a dense
#: Laplacian of the hemisphere; "precomputed": its polynomials in one matrix.
Form = Literal["sphere", "hemisphere", "dense", "precomputed"]
FORMS: tuple[Form, ...] = get_args(Form)

_INWARDS = (1, 5, 0, 2, 3, 4)  # to (batch, channel, vertex, x, y, z)
_OUTWARDS = (2, 0, 3, 4, 5, 1)


class TapConvolution(SpatioSphericalWeights):
    """``SpatioSphericalConvolution`` in another form, with the same parameters.

    Parameters
    ----------
    n_in, n_out
        Channels.
    laplacian
        Of the full sphere for the form "sphere", else ``L+`` of the hemisphere.
    form
        How the polynomials of the Laplacian are applied.
    n_order, spatial, repeat_border, generator
        As in ``SpatioSphericalConvolution``.
    """

    operator: Tensor
    classes: Tensor

    def __init__(
        self,
        n_in: int,
        n_out: int,
        laplacian: Float[np.ndarray, "vertex vertex"],
        *,
        form: Form,
        n_order: int = 5,
        spatial: bool = True,
        repeat_border: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(n_in, n_out, n_order=n_order, spatial=spatial, generator=generator)
        self.precomputed = form == "precomputed"
        self.repeat_border = repeat_border
        self.n_order = n_order
        operator = torch.as_tensor(laplacian).float()
        if self.precomputed:
            polynomials = chebyshev_polynomials(laplacian, n_order)
            operator = (
                torch.as_tensor(polynomials).float().flatten(0, 1)
            )  # (order * vertex, vertex)
        elif form in ("sphere", "hemisphere"):
            operator = operator.to_sparse_coo()
        self.register_buffer("operator", operator, persistent=False)
        self.register_buffer("classes", _distance_classes(), persistent=False)

    def forward(
        self, signal: Float[Tensor, "vertex batch x y z n_in"]
    ) -> Float[Tensor, "vertex batch x y z n_out"]:
        """Filter a signal."""
        n_vertex, n_batch, *shape, n_in = signal.shape
        spread = signal.permute(0, 5, 1, 2, 3, 4).reshape(n_vertex, -1)
        terms = self._filter(spread).view(self.n_order, n_vertex, n_in, n_batch, *shape)
        rows = terms.permute(3, 1, 2, 0, 4, 5, 6).reshape(-1, n_in * self.n_order, *shape)
        output = self._convolve(rows)  # (batch * vertex, n_out, x, y, z)
        output = output.view(n_batch, n_vertex, -1, *shape).transpose(1, 2).contiguous()
        return output.permute(_OUTWARDS)

    def _filter(
        self, signal: Float[Tensor, "vertex column"]
    ) -> Float[Tensor, "order_vertex column"]:
        """Apply all polynomials of the Laplacian."""
        if self.n_order == 1:
            return signal
        if self.precomputed:
            return self.operator.to(signal.dtype) @ signal
        if not self.operator.is_sparse:
            return _recur(self.operator.to(signal.dtype), signal, self.n_order)
        # Sparse products are faster in float32, and not every device has others.
        with torch.autocast(signal.device.type, enabled=False):
            return _recur(self.operator, signal.float(), self.n_order).to(signal.dtype)

    def _convolve(
        self, rows: Float[Tensor, "row order_n_in x y z"]
    ) -> Float[Tensor, "row n_out x y z"]:
        """Convolve with the taps, of which an axis of one voxel needs but one."""
        bias = self.bias.to(rows.dtype)
        if not self.spatial:
            weight = self.spherical_weight.to(rows.dtype).flatten(1)
            return functional.conv3d(rows, weight[..., None, None, None], bias)
        classes = self.classes
        for axis, length in enumerate(rows.shape[2:], start=1):
            if length == 1 and self.repeat_border:
                classes = classes.sum(axis, keepdim=True)
            elif length == 1:
                classes = classes.narrow(axis, 1, 1)
        weight = torch.einsum(
            "oik,oir,rxyz->oikxyz", self.spherical_weight, self.spatial_weight, classes
        )
        weight = weight.to(rows.dtype).flatten(1, 2)
        margin = [(length - 1) // 2 for length in classes.shape[1:]]
        if self.repeat_border:
            sides = [width for width in reversed(margin) for _ in range(2)]
            rows, margin = functional.pad(rows, sides, mode="replicate"), [0, 0, 0]
        return functional.conv3d(rows, weight, bias, padding=margin)


def _recur(
    operator: Float[Tensor, "vertex vertex"], signal: Float[Tensor, "vertex column"], n_order: int
) -> Float[Tensor, "order_vertex column"]:
    """Apply the polynomials by ``T_k = 2 L T_(k-1) - T_(k-2)``."""
    terms = [signal, operator @ signal]
    for _ in range(2, n_order):
        terms.append(2.0 * (operator @ terms[-1]) - terms[-2])
    return torch.cat(terms)


class TapActivation(nn.Module):
    """Batch normalisation and ReLU, as ``NormalisedActivation``."""

    def __init__(self, n_channel: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(n_channel)

    def forward(
        self, convolution: TapConvolution, signal: Float[Tensor, "vertex batch x y z n_in"]
    ) -> Float[Tensor, "vertex batch x y z n_out"]:
        """Convolve, normalise and rectify."""
        inner = convolution(signal).permute(_INWARDS)
        flat = functional.relu_(self.norm(inner.flatten(2)))
        return flat.view(inner.shape).permute(_OUTWARDS)


class TapPool(nn.Module):
    """Mean over the children of each vertex and over 2x2x2 voxels, as ``Pool``."""

    children_index: Tensor

    def __init__(self, children: Int[np.ndarray, "coarse 4"], *, spatial: bool) -> None:
        super().__init__()
        self.register_buffer("children_index", torch.as_tensor(children), persistent=False)
        self.spatial = spatial

    def forward(
        self, signal: Float[Tensor, "vertex batch x y z channel"]
    ) -> Float[Tensor, "coarse batch x2 y2 z2 channel"]:
        """Pool a signal; odd sizes are padded by repeating the last voxel."""
        inner = signal.permute(_INWARDS)
        if self.spatial:
            window = [min(length, 2) for length in inner.shape[3:]]
            flat = inner.flatten(0, 1)
            if flat.device.type == "cpu":  # which pools no other numbers
                flat = flat.float()
            pooled = functional.avg_pool3d(flat, window, ceil_mode=True)
            inner = pooled.to(signal.dtype).unflatten(0, inner.shape[:2])
        return inner[:, :, self.children_index].mean(dim=3).permute(_OUTWARDS)


class TapUnpool(nn.Module):
    """Repeat each vertex over its children and each voxel over 2x2x2, as ``Unpool``."""

    parent_index: Tensor

    def __init__(self, parents: Int[np.ndarray, " fine"], *, spatial: bool) -> None:
        super().__init__()
        self.register_buffer("parent_index", torch.as_tensor(parents), persistent=False)
        self.spatial = spatial

    def forward(
        self,
        signal: Float[Tensor, "coarse batch x2 y2 z2 channel"],
        shape: tuple[int, int, int],
    ) -> Float[Tensor, "vertex batch x y z channel"]:
        """Unpool to a spatial shape."""
        inner = signal.permute(_INWARDS)[:, :, self.parent_index]
        if self.spatial:
            flat = functional.interpolate(inner.flatten(0, 1), scale_factor=2.0, mode="nearest")
            inner = flat.unflatten(0, inner.shape[:2])
            inner = inner[..., : shape[0], : shape[1], : shape[2]]
        return inner.permute(_OUTWARDS)


def join_channels(
    first: Float[Tensor, "vertex batch x y z n_first"],
    second: Float[Tensor, "vertex batch x y z n_second"],
) -> Float[Tensor, "vertex batch x y z n_both"]:
    """Concatenate channels, keeping the order in memory that this module has."""
    return torch.cat([first.permute(_INWARDS), second.permute(_INWARDS)], dim=1).permute(_OUTWARDS)


def _distance_classes() -> Float[Tensor, "distance 3 3 3"]:
    """Mark the taps at each distance class of the 3x3x3 neighbourhood."""
    steps = torch.tensor([1, 0, 1])
    distance = steps[:, None, None] + steps[:, None] + steps
    return torch.stack([distance == value for value in range(4)]).float()
