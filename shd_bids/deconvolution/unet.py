"""The U-Net over hemispheres and voxels (Elaldi et al. 2024, section 3; SHD and SHD-TV)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from shd_bids.sphere.graph import hemisphere_laplacian, sphere_laplacian
from shd_bids.sphere.healpix import FullSphere, Hemisphere, full_sphere, hemisphere

from .forms import Form, TapActivation, TapConvolution, TapPool, TapUnpool, join_channels
from .layers import NormalisedActivation, Pool, SpatioSphericalConvolution, Unpool

Sphere = Hemisphere | FullSphere
NetworkForm = Form | Literal["commuted"]


@dataclass(frozen=True)
class _Kit:
    """The layers of one form of the network."""

    convolution: Callable[..., SpatioSphericalConvolution | TapConvolution]
    activation: Callable[[int], nn.Module]
    pool: Callable[[Sphere], nn.Module]
    unpool: Callable[[Sphere], nn.Module]
    join: Callable[[Tensor, Tensor], Tensor]


def _make_kit(
    form: NetworkForm,
    *,
    spatial: bool,
    n_order: int,
    repeat_border: bool,
    generator: torch.Generator | None,
) -> _Kit:
    options: dict[str, Any] = {
        "spatial": spatial,
        "n_order": n_order,
        "repeat_border": repeat_border,
        "generator": generator,
    }
    if form == "commuted":
        return _Kit(
            partial(SpatioSphericalConvolution, **options),
            NormalisedActivation,
            partial(Pool, spatial=spatial),
            partial(Unpool, spatial=spatial),
            lambda first, second: torch.cat([first, second], dim=-1),
        )
    return _Kit(
        partial(TapConvolution, form=form, **options),
        TapActivation,
        lambda coarse: TapPool(coarse.children, spatial=spatial),
        lambda fine: TapUnpool(fine.parents, spatial=spatial),
        join_channels,
    )


class _Block(nn.Module):
    """Two convolutions, each normalised and rectified."""

    def __init__(
        self,
        channels: tuple[int, int, int],
        laplacian: Float[np.ndarray, "vertex vertex"],
        kit: _Kit,
    ) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            kit.convolution(n_in, n_out, laplacian) for n_in, n_out in pairwise(channels)
        )
        self.activations = nn.ModuleList(kit.activation(n_out) for n_out in channels[1:])

    def forward(
        self, signal: Float[Tensor, "vertex batch x y z n_in"]
    ) -> Float[Tensor, "vertex batch x y z n_out"]:
        for convolution, activation in zip(self.convolutions, self.activations, strict=True):
            signal = activation(convolution, signal)
        return signal


class SphericalUNet(nn.Module):
    """U-Net whose every layer is equivariant to rotations of space and of the sphere.

    Parameters
    ----------
    n_in, n_out
        Channels of input and output.
    n_side
        HEALPix resolution at full scale; halved at each level.
    n_level
        Levels, the coarsest included; at most ``log2(n_side) + 1``.
    filters
        Channels at full resolution; doubled at each level.
    n_order
        Chebyshev terms of each convolution.
    repeat_border
        As in ``SpatioSphericalConvolution``.
    spatial
        Whether neighbouring voxels are seen and pooled; without, each voxel is alone (ESD).
    form
        How the convolutions are computed: "commuted" is ours, the others are those of ``forms``.
        The weights and, but for rounding, the output are the same; "sphere" computes on the full
        sphere (RT-ESD with ``spatial``, ESD without).
    generator
        Source of the initial weights.
    laplacians
        Of each level, finest first, instead of our own (for parity tests).

    Raises
    ------
    ValueError
        If there are more levels than ``n_side`` can be halved.
    """

    unfold: Tensor | None
    kept: Tensor | None

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        n_side: int,
        n_level: int,
        filters: int,
        n_order: int = 5,
        repeat_border: bool = False,
        spatial: bool = True,
        form: NetworkForm = "commuted",
        generator: torch.Generator | None = None,
        laplacians: Sequence[Float[np.ndarray, "_ _"]] | None = None,
    ) -> None:
        super().__init__()
        if n_side >> (n_level - 1) < 1:
            raise ValueError(f"n_side {n_side} cannot be halved {n_level - 1} times.")
        sides = [n_side >> level for level in range(n_level)]
        whole = form == "sphere"
        spheres = [full_sphere(side) if whole else hemisphere(side) for side in sides]
        if laplacians is None:
            laplacian_of = sphere_laplacian if whole else hemisphere_laplacian
            laplacians = [laplacian_of(side) for side in sides]
        half = hemisphere(n_side)
        for name, index in (("unfold", half.fold), ("kept", half.pixels)):
            buffer = torch.as_tensor(index) if whole else None
            self.register_buffer(name, buffer, persistent=False)
        kit = _make_kit(
            form,
            spatial=spatial,
            n_order=n_order,
            repeat_border=repeat_border,
            generator=generator,
        )
        self.join = kit.join
        width = [filters << level for level in range(n_level)]
        last = n_level - 1
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        self.pools = nn.ModuleList(kit.pool(sphere) for sphere in spheres[1:])
        self.unpools = nn.ModuleList(kit.unpool(sphere) for sphere in spheres[:-1])
        for level in range(last):
            channels = (n_in if level == 0 else width[level - 1], width[level], width[level])
            self.encoder.append(_Block(channels, laplacians[level], kit))
        for level in range(n_level):
            below = width[level - 1] if level > 0 else width[0]
            if level == last:
                entering = width[level - 1] if last > 0 else n_in
                channels = (entering, width[level], below)
            else:
                channels = (2 * width[level], width[level], below)
            self.decoder.append(_Block(channels, laplacians[level], kit))
        self.head = kit.convolution(width[0], n_out, laplacians[0], n_order=1, spatial=False)

    def forward(
        self, signal: Float[Tensor, "vertex batch x y z n_in"]
    ) -> Float[Tensor, "vertex batch x y z n_out"]:
        """Map input channels to output channels, without a final activation."""
        if self.unfold is not None:
            signal = signal[self.unfold]
        skips = []
        for block, pool in zip(self.encoder, self.pools, strict=True):
            signal = block(signal)
            skips.append(signal)
            signal = pool(signal)
        signal = self.decoder[-1](signal)
        for level in reversed(range(len(skips))):
            raised = self.unpools[level](signal, skips[level].shape[2:5])
            signal = self.decoder[level](self.join(raised, skips[level]))
        output = self.head(signal)
        return output if self.kept is None else output[self.kept]
