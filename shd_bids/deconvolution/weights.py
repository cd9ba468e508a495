"""What a convolution on voxels that each carry a sphere learns, however it is computed."""

import torch
from torch import Tensor, nn

from .neighbours import N_DISTANCE

_N_TAP = 27
_BIAS = 0.01


class SpatioSphericalWeights(nn.Module):
    """Spherical weights, spatial weights and bias, as the authors start them.

    Parameters
    ----------
    n_in, n_out
        Channels.
    n_order
        Chebyshev terms.
    spatial
        Whether the neighbours of a voxel have weights, one for each distance.
    generator
        Source of the initial weights.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        n_order: int,
        spatial: bool,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self.spatial = spatial
        self.bias: Tensor = nn.Parameter(torch.full((n_out,), _BIAS))
        self.spherical_weight = nn.Parameter(torch.empty(n_out, n_in, n_order))
        nn.init.normal_(
            self.spherical_weight, std=(2.0 / (n_in * n_order)) ** 0.5, generator=generator
        )
        if spatial:
            self.spatial_weight = nn.Parameter(torch.empty(n_out, n_in, N_DISTANCE))
            nn.init.normal_(
                self.spatial_weight, std=(2.0 / (_N_TAP * n_in)) ** 0.5, generator=generator
            )
