"""The fixed maps between a scan and a network: what enters, where it starts, what it predicts."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from shd_bids.sphere.healpix import hemisphere

from .forward import SignalModel, shell_interpolation, vertex_dictionary
from .start import neighbour_weights, non_negative_start

#: b=0 below this fraction of the white matter's b=0 is taken as no signal.
_SMALLEST_B0 = 1e-3
#: Bounds of the factor that brings the predicted b=0 to the measured one.
_SCALE_LIMITS = (0.1, 10.0)


class Physics(nn.Module):
    """One acquisition as a network with ``n_side`` meets it; nothing here is learnt.

    Parameters
    ----------
    model
        Physics of all volumes.
    n_side
        HEALPix resolution of the network.
    axes_ras
        One column per voxel axis: the step to the next voxel, mm. None starts each voxel alone.
    seen
        Volumes that enter the network; by default all. Those left out are predicted all the same,
        so that a network can be judged by what it has not seen.
    """

    input_map: Tensor
    dictionary: Tensor
    kernel: Tensor
    b0_mean: Tensor
    weights: Tensor
    seen: Tensor
    hidden: Tensor

    def __init__(
        self,
        model: SignalModel,
        n_side: int,
        axes_ras: Float[np.ndarray, "3 3"] | None,
        seen: Bool[np.ndarray, " volume"] | None = None,
    ) -> None:
        super().__init__()
        self.n_coef = model.n_coef
        seen = np.ones(len(model.kernel), dtype=bool) if seen is None else seen
        vertices = hemisphere(n_side).vertices
        is_b0 = (model.shell_index == 0) & seen
        maps = {
            "input_map": shell_interpolation(model, vertices, model.lmax, seen),
            "dictionary": vertex_dictionary(model, vertices)[seen],
            "kernel": model.kernel,
            "b0_mean": is_b0 / is_b0.sum(),
            "weights": (
                np.zeros((3, len(vertices)))
                if axes_ras is None
                else neighbour_weights(torch.as_tensor(vertices), torch.as_tensor(axes_ras))
            ),
        }
        for name, value in maps.items():
            self.register_buffer(name, torch.as_tensor(value).float(), persistent=False)
        for name, chosen in (("seen", seen), ("hidden", ~seen)):
            index = torch.as_tensor(np.flatnonzero(chosen))
            self.register_buffer(name, index, persistent=False)

    @property
    def hides(self) -> bool:
        """Whether there are volumes that do not enter the network."""
        return len(self.hidden) > 0

    def start(
        self, dwi: Float[Tensor, "row volume"], neighbours: Int[Tensor, "row 6"]
    ) -> Float[Tensor, "row start"]:
        """Deconvolve as ``non_negative_start``: vertex amplitudes, then isotropic coefficients."""
        return non_negative_start(dwi[:, self.seen], self.dictionary, self.weights, neighbours)

    def interpolate(
        self, dwi: Float[Tensor, "batch x y z volume"]
    ) -> Float[Tensor, "vertex batch x y z shell"]:
        """Interpolate each shell to the vertices."""
        return torch.einsum("bxyzg,vsg->vbxyzs", dwi, self.input_map)

    def predict_signal(
        self, coefficients: Float[Tensor, "... unknown"]
    ) -> Float[Tensor, "... volume"]:
        """Predict the signal over b=0 of tissue coefficients."""
        return coefficients @ self.kernel.T

    def match_b0(
        self,
        coefficients: Float[Tensor, "batch x y z unknown"],
        dwi: Float[Tensor, "batch x y z volume"],
    ) -> Float[Tensor, "batch x y z unknown"]:
        """Scale all tissues of a voxel together so that the predicted b=0 is the measured one."""
        measured = dwi @ self.b0_mean
        predicted = coefficients @ (self.b0_mean @ self.kernel)
        scale = measured / predicted.clamp(min=_SMALLEST_B0)
        scale = scale.clamp(*_SCALE_LIMITS)
        scale = torch.where(measured > _SMALLEST_B0, scale, torch.ones_like(scale))
        return coefficients * scale.unsqueeze(-1)


def hide_directions(
    shell_index: Int[np.ndarray, " volume"],
    n_part: int,
    n_view: int,
    generator: torch.Generator,
    n_shown: int | None = None,
) -> list[Bool[np.ndarray, " volume"]]:
    """Choose what a network sees of each shell in each of several views.

    By default the directions are dealt out in parts, and each view hides another part: the network
    learns what the voxels around say of the directions that it does not see. With ``n_shown``, each
    view shows so many, as a shorter scan would have, and hides all others: the network learns to
    see the long scan in the short one (Elaldi et al. 2024, section 4).

    Parameters
    ----------
    shell_index
        The shell of each volume; b=0, shell 0, is never hidden.
    n_part
        Number of parts; each is an equal share of the directions.
    n_view
        Number of views, at most that of parts; 0 hides nothing.
    generator
        Deals.
    n_shown
        Directions of each shell that a view shows, at most.

    Returns
    -------
    seen
        For each view, the volumes that enter the network.
    """
    views = [np.ones(len(shell_index), dtype=bool) for _ in range(n_view)]
    for shell in range(1, int(shell_index.max()) + 1 if n_view else 0):
        volumes = np.flatnonzero(shell_index == shell)
        if n_shown is None:
            dealt = _shuffle(volumes, generator)
            hidden = [dealt[number::n_part] for number in range(n_view)]
        else:
            hidden = [_shuffle(volumes, generator)[n_shown:] for _ in views]
        for view, chosen in zip(views, hidden, strict=True):
            view[chosen] = False
    return views


def _shuffle(
    volumes: Int[np.ndarray, " volume"], generator: torch.Generator
) -> Int[np.ndarray, " volume"]:
    return volumes[torch.randperm(len(volumes), generator=generator).numpy()]
