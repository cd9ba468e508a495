"""From measured signals to tissue amplitudes: the U-Net between its fixed input and output maps."""

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from shd_bids.sphere.graph import hemisphere_laplacian
from shd_bids.sphere.healpix import hemisphere

from .forward import lobes_at
from .layers import SpatioSphericalConvolution
from .physics import Physics
from .unet import NetworkForm, SphericalUNet

#: Sharpness of the softplus that keeps amplitudes positive; an fODF lobe peaks at about 3.
_SHARPNESS = 50.0
#: Amplitudes of the start are at least this, where the softplus still has a slope.
_SMALLEST_START = 5e-3


@dataclass(frozen=True)
class NetworkSettings:
    """What has to agree before weights can be loaded.

    Attributes
    ----------
    spatial
        Whether a voxel sees its neighbours; without, SHD is ESD.
    form
        How convolutions are computed; on the full sphere, by recurrence, SHD is RT-ESD.
    """

    n_side: int
    n_level: int
    filters: int
    n_order: int
    n_shell: int
    tissues: tuple[str, ...]
    spatial: bool = True
    form: NetworkForm = "commuted"

    def to_metadata(self) -> dict[str, str]:
        """Give the settings as text, for the header of a weights file."""
        fields = asdict(self) | {"tissues": "+".join(self.tissues)}
        return {key: str(value) for key, value in fields.items()}


class ShdNetwork(nn.Module):
    """Amortised deconvolution: one network for all voxels of a scan.

    The shells, interpolated to the hemisphere, and each voxel's own non-negative deconvolution
    enter; the network learns what has to be added to the latter, which is nothing at first: the
    output of the U-Net and of one convolution past it, which smooths and sharpens linearly.
    White matter is a function on the sphere, so equivariant; grey matter and CSF are maxima over
    the sphere, so invariant.

    Parameters
    ----------
    settings
        Architecture.
    lmax
        Degree of the fODF.
    generator
        Source of the initial weights.
    """

    to_sh: Tensor

    def __init__(
        self,
        settings: NetworkSettings,
        lmax: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.lmax = lmax
        to_sh = lobes_at(hemisphere(settings.n_side).vertices, lmax)
        self.register_buffer("to_sh", torch.as_tensor(to_sh).float(), persistent=False)
        n_tissue = len(settings.tissues)
        self.unet = SphericalUNet(
            settings.n_shell + n_tissue,
            n_tissue,
            n_side=settings.n_side,
            n_level=settings.n_level,
            filters=settings.filters,
            n_order=settings.n_order,
            repeat_border=True,
            spatial=settings.spatial,
            form=settings.form,
            generator=generator,
        )
        self.direct = SpatioSphericalConvolution(
            settings.n_shell + n_tissue,
            n_tissue,
            hemisphere_laplacian(settings.n_side),
            n_order=settings.n_order,
            repeat_border=True,
            spatial=settings.spatial,
            generator=generator,
        )
        for last in (self.unet.head, self.direct):
            nn.init.zeros_(last.spherical_weight)
            nn.init.zeros_(last.bias)

    def forward(
        self,
        physics: Physics,
        dwi: Float[Tensor, "batch x y z volume"],
        start: Float[Tensor, "batch x y z start"],
        compute_dtype: torch.dtype = torch.float32,
    ) -> Float[Tensor, "batch x y z unknown"]:
        """Give the tissue coefficients: fODF SH first, then the isotropic tissues.

        Parameters
        ----------
        physics
            Of the acquisition.
        dwi
            Signal over the white matter's b=0, zero outside the mask.
        start
            What ``Physics.start`` gave for these voxels, zero outside the mask.
        compute_dtype
            Precision of the U-Net; everything around it stays in float32.
        """
        n_vertex = len(physics.input_map)
        white_start = start[..., :n_vertex].permute(4, 0, 1, 2, 3)
        isotropic_start = start[..., n_vertex:]
        features = torch.cat(
            [
                physics.interpolate(dwi),
                white_start.unsqueeze(-1),
                isotropic_start.unsqueeze(0).expand(n_vertex, -1, -1, -1, -1, -1),
            ],
            dim=-1,
        )
        features = features.to(compute_dtype)
        change = self.unet(features).float() + self.direct(features).float()
        white = _add_positive(white_start, change[..., 0])
        isotropic = _add_positive(isotropic_start, change[..., 1:].amax(dim=0))
        return self._to_coefficients(physics, white.permute(1, 2, 3, 4, 0), isotropic, dwi)

    def initial(
        self,
        physics: Physics,
        dwi: Float[Tensor, "batch x y z volume"],
        start: Float[Tensor, "batch x y z start"],
    ) -> Float[Tensor, "batch x y z unknown"]:
        """Give what ``forward`` gives before any training."""
        amplitude = start.clamp(min=_SMALLEST_START)
        white, isotropic = amplitude.tensor_split([len(physics.input_map)], dim=-1)
        return self._to_coefficients(physics, white, isotropic, dwi)

    def _to_coefficients(
        self,
        physics: Physics,
        white: Float[Tensor, "batch x y z vertex"],
        isotropic: Float[Tensor, "batch x y z tissue"],
        dwi: Float[Tensor, "batch x y z volume"],
    ) -> Float[Tensor, "batch x y z unknown"]:
        return physics.match_b0(torch.cat([white @ self.to_sh.T, isotropic], dim=-1), dwi)


def _add_positive(
    amplitude: Float[Tensor, "*shape"], change: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Add a change under a softplus: the sum stays positive, and no change changes nothing."""
    amplitude = amplitude.clamp(min=_SMALLEST_START)
    inverse = amplitude + torch.log(-torch.expm1(-_SHARPNESS * amplitude)) / _SHARPNESS
    return functional.softplus(inverse + change, beta=_SHARPNESS)
