"""Three networks over hemispheres and voxels, of which one is equivariant to all rotations."""

from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from shd_bids.deconvolution.unet import SphericalUNet

N_CHANNEL = 2
_N_NEIGHBOUR = 27


class ConcatenatingNetwork(nn.Module):
    """A U-Net over the sphere that is given the 3x3x3 neighbours of a voxel as channels (ESD).

    It turns with the sphere, but tells the neighbours apart, so it does not turn with the grid.
    """

    def __init__(self, n_side: int, n_level: int, filters: int, generator: torch.Generator) -> None:
        super().__init__()
        self.unet = SphericalUNet(
            _N_NEIGHBOUR * N_CHANNEL,
            N_CHANNEL,
            n_side=n_side,
            n_level=n_level,
            filters=filters,
            spatial=False,
            generator=generator,
        )

    def forward(
        self, signal: Float[Tensor, "vertex batch x y z n_in"]
    ) -> Float[Tensor, "vertex batch x y z n_out"]:
        """Map input channels to output channels."""
        padded = functional.pad(signal, (0, 0, 1, 1, 1, 1, 1, 1))
        x, y, z = signal.shape[2:5]
        neighbours = [
            padded[:, :, i : i + x, j : j + y, k : k + z] for i, j, k in product(range(3), repeat=3)
        ]
        return self.unet(torch.cat(neighbours, dim=-1))


class VoxelNetwork(nn.Module):
    """Common 3x3x3 convolutions that take the vertices as channels: equivariant to no rotation."""

    def __init__(self, n_side: int, n_level: int, filters: int, generator: torch.Generator) -> None:
        super().__init__()
        n_channel = 6 * n_side**2 * N_CHANNEL
        width = filters << n_level
        self.layers = nn.Sequential(
            nn.Conv3d(n_channel, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv3d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv3d(width, n_channel, 3, padding=1),
        )
        for weight in self.layers.parameters():
            n_source = weight[0].numel() if weight.ndim > 1 else 1
            nn.init.normal_(weight, std=(2.0 / n_source) ** 0.5, generator=generator)

    def forward(
        self, signal: Float[Tensor, "vertex batch x y z channel"]
    ) -> Float[Tensor, "vertex batch x y z channel"]:
        """Map input channels to output channels."""
        flat = signal.permute(1, 0, 5, 2, 3, 4)  # (batch, vertex, channel, x, y, z)
        output = self.layers(flat.flatten(1, 2)).view(flat.shape)
        return output.permute(1, 0, 3, 4, 5, 2)


def build_networks(n_side: int, n_level: int, filters: int, seed: int) -> dict[str, nn.Module]:
    """Make the three with random weights, ready to be tested, all keeping the shape."""
    generator = torch.Generator().manual_seed(seed)
    shd = SphericalUNet(
        N_CHANNEL,
        N_CHANNEL,
        n_side=n_side,
        n_level=n_level,
        filters=filters,
        repeat_border=True,
        generator=generator,
    )
    return {
        "SHD": shd.eval(),
        "concatenating": ConcatenatingNetwork(n_side, n_level, filters, generator).eval(),
        "voxel CNN": VoxelNetwork(n_side, n_level, filters, generator).eval(),
    }
