"""From measured signals to tissue amplitudes: the U-Net between its fixed input and output maps."""

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from shd_bids.sphere.harmonics import fit_matrix, sh_basis
from shd_bids.sphere.healpix import hemisphere

from .forward import SignalModel, linear_inverse, shell_interpolation
from .unet import SphericalUNet

#: Sharpness of the softplus that keeps amplitudes positive; an fODF lobe peaks at about 3.
_SHARPNESS = 20.0
#: Output of the head is multiplied by this, so that a fresh network stays near its start.
_HEAD_GAIN = 0.2
#: b=0 below this fraction of the white matter's b=0 is taken as no signal.
_SMALLEST_B0 = 1e-3
#: Bounds of the factor that brings the predicted b=0 to the measured one.
_SCALE_LIMITS = (0.1, 10.0)


@dataclass(frozen=True)
class NetworkSettings:
    """What has to agree before weights can be loaded."""

    n_side: int
    n_level: int
    filters: int
    n_order: int
    n_shell: int
    tissues: tuple[str, ...]

    def to_metadata(self) -> dict[str, str]:
        """Give the settings as text, for the header of a weights file."""
        fields = asdict(self) | {"tissues": "+".join(self.tissues)}
        return {key: str(value) for key, value in fields.items()}


class ShdNetwork(nn.Module):
    """Amortised deconvolution: one network for all voxels of a scan.

    The shells, interpolated to the hemisphere, and the linear deconvolution enter; the network
    learns what has to be added to the linear solution. White matter is a function on the sphere,
    so equivariant; grey matter and CSF are maxima over the sphere, so invariant.

    Parameters
    ----------
    settings
        Architecture.
    model
        Physics of the acquisition.
    generator
        Source of the initial weights.
    """

    input_map: Tensor
    linear_white: Tensor
    linear_isotropic: Tensor
    to_sh: Tensor
    kernel: Tensor
    is_b0: Tensor

    def __init__(
        self,
        settings: NetworkSettings,
        model: SignalModel,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.n_coef = model.n_coef
        self.lmax = model.lmax
        vertices = hemisphere(settings.n_side).vertices
        inverse = linear_inverse(model)
        constants = {
            "input_map": shell_interpolation(model, vertices, model.lmax),
            "linear_white": sh_basis(vertices, model.lmax) @ inverse[: model.n_coef],
            "linear_isotropic": inverse[model.n_coef :],
            "to_sh": fit_matrix(vertices, model.lmax),
            "kernel": model.kernel,
            "is_b0": (model.shell_index == 0) / (model.shell_index == 0).sum(),
        }
        for name, value in constants.items():
            self.register_buffer(name, torch.as_tensor(value).float(), persistent=False)
        self.unet = SphericalUNet(
            settings.n_shell + 1,
            len(settings.tissues),
            n_side=settings.n_side,
            n_level=settings.n_level,
            filters=settings.filters,
            n_order=settings.n_order,
            generator=generator,
        )

    def forward(
        self,
        dwi: Float[Tensor, "batch x y z volume"],
        compute_dtype: torch.dtype = torch.float32,
    ) -> Float[Tensor, "batch x y z unknown"]:
        """Give the tissue coefficients: fODF SH first, then the isotropic tissues.

        Parameters
        ----------
        dwi
            Signal over the white matter's b=0, zero outside the mask.
        compute_dtype
            Precision of the U-Net; everything around it stays in float32.
        """
        shells = torch.einsum("bxyzg,vsg->vbxyzs", dwi, self.input_map)
        linear = torch.einsum("bxyzg,vg->vbxyz", dwi, self.linear_white)
        features = torch.cat([shells, linear.unsqueeze(-1)], dim=-1)
        raw = self.unet(features.to(compute_dtype)).float() * _HEAD_GAIN
        white = functional.softplus(raw[..., 0] + linear, beta=_SHARPNESS)
        fodf_sh = torch.einsum("vbxyz,cv->bxyzc", white, self.to_sh)
        # (vertex, batch, x, y, z, tissue) -> (batch, x, y, z, tissue)
        isotropic = raw[..., 1:].amax(dim=0)
        isotropic = isotropic + torch.einsum("bxyzg,tg->bxyzt", dwi, self.linear_isotropic)
        isotropic = functional.softplus(isotropic, beta=_SHARPNESS)
        return self._match_b0(torch.cat([fodf_sh, isotropic], dim=-1), dwi)

    def _match_b0(
        self,
        coefficients: Float[Tensor, "batch x y z unknown"],
        dwi: Float[Tensor, "batch x y z volume"],
    ) -> Float[Tensor, "batch x y z unknown"]:
        """Scale all tissues of a voxel together so that the predicted b=0 is the measured one."""
        measured = dwi @ self.is_b0
        predicted = coefficients @ (self.is_b0 @ self.kernel)
        scale = measured / predicted.clamp(min=_SMALLEST_B0)
        scale = scale.clamp(*_SCALE_LIMITS)
        scale = torch.where(measured > _SMALLEST_B0, scale, torch.ones_like(scale))
        return coefficients * scale.unsqueeze(-1)

    def predict_signal(
        self, coefficients: Float[Tensor, "... unknown"]
    ) -> Float[Tensor, "... volume"]:
        """Predict the signal over b=0 of tissue coefficients."""
        return coefficients @ self.kernel.T
