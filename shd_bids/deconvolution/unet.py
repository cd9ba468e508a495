"""The U-Net over hemispheres and voxels (Elaldi et al. 2024, section 3; SHD and SHD-TV)."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from shd_bids.sphere.graph import hemisphere_laplacian
from shd_bids.sphere.healpix import hemisphere

from .layers import NormalisedActivation, Pool, SpatioSphericalConvolution, Unpool


class _Block(nn.Module):
    """Two convolutions, each normalised and rectified."""

    def __init__(
        self,
        channels: tuple[int, int, int],
        laplacian: Float[np.ndarray, "vertex vertex"],
        n_order: int,
        normalise_border: bool,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            SpatioSphericalConvolution(
                n_in,
                n_out,
                laplacian,
                n_order=n_order,
                normalise_border=normalise_border,
                generator=generator,
            )
            for n_in, n_out in pairwise(channels)
        )
        self.activations = nn.ModuleList(NormalisedActivation(n_out) for n_out in channels[1:])

    def forward(
        self, signal: Float[Tensor, "vertex batch x y z n_in"]
    ) -> Float[Tensor, "vertex batch x y z n_out"]:
        for convolution, activation in zip(self.convolutions, self.activations, strict=True):
            signal = activation(convolution(signal))
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
    normalise_border
        As in ``SpatioSphericalConvolution``.
    generator
        Source of the initial weights.
    laplacians
        ``L+`` of each level, finest first, instead of our own (for parity tests).

    Raises
    ------
    ValueError
        If there are more levels than ``n_side`` can be halved.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        n_side: int,
        n_level: int,
        filters: int,
        n_order: int = 5,
        normalise_border: bool = False,
        generator: torch.Generator | None = None,
        laplacians: Sequence[Float[np.ndarray, "_ _"]] | None = None,
    ) -> None:
        super().__init__()
        if n_side >> (n_level - 1) < 1:
            raise ValueError(f"n_side {n_side} cannot be halved {n_level - 1} times.")
        spheres = [hemisphere(n_side >> level) for level in range(n_level)]
        if laplacians is None:
            laplacians = [hemisphere_laplacian(sphere.n_side) for sphere in spheres]
        width = [filters << level for level in range(n_level)]
        last = n_level - 1
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        self.pools = nn.ModuleList(Pool(sphere, spatial=True) for sphere in spheres[1:])
        self.unpools = nn.ModuleList(Unpool(sphere, spatial=True) for sphere in spheres[:-1])
        for level in range(last):
            channels = (n_in if level == 0 else width[level - 1], width[level], width[level])
            self.encoder.append(
                _Block(channels, laplacians[level], n_order, normalise_border, generator)
            )
        for level in range(n_level):
            below = width[level - 1] if level > 0 else width[0]
            if level == last:
                entering = width[level - 1] if last > 0 else n_in
                channels = (entering, width[level], below)
            else:
                channels = (2 * width[level], width[level], below)
            self.decoder.append(
                _Block(channels, laplacians[level], n_order, normalise_border, generator)
            )
        self.head = SpatioSphericalConvolution(
            width[0], n_out, laplacians[0], n_order=1, spatial=False, generator=generator
        )

    def forward(
        self, signal: Float[Tensor, "vertex batch x y z n_in"]
    ) -> Float[Tensor, "vertex batch x y z n_out"]:
        """Map input channels to output channels, without a final activation."""
        skips = []
        for block, pool in zip(self.encoder, self.pools, strict=True):
            signal = block(signal)
            skips.append(signal)
            signal = pool(signal)
        signal = self.decoder[-1](signal)
        for level in reversed(range(len(skips))):
            raised = self.unpools[level](signal, skips[level].shape[2:5])
            signal = self.decoder[level](torch.cat([raised, skips[level]], dim=-1))
        return self.head(signal)
