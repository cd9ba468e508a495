"""A scan of a few voxels with its physics and a network of a few weights, for tests of a second."""

from dataclasses import replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from shd_bids.deconvolution.forward import SignalModel, build_signal_model
from shd_bids.deconvolution.network import NetworkSettings, ShdNetwork
from shd_bids.deconvolution.patches import MaskedScan, Patch, crop_to_mask
from shd_bids.deconvolution.physics import Physics
from shd_bids.deconvolution.presets import PRESETS
from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.shells import cluster_shells
from shd_bids.response.io import Response
from shd_bids.sphere.harmonics import sh_basis
from shd_bids.testing.kernels import true_responses

N_DIRECTION = 20
LMAX = 4
AXES_RAS = np.diag([-2.0, 2.0, 2.5])
TINY = replace(
    PRESETS["fast"],
    n_side=2,
    n_level=1,
    filters=2,
    n_order=3,
    patch=4,
    batch=4,
    steps=6,
    tile=6,
    halo=2,
    loss_n_side=2,
    hidden_views=0,
)


def spread_directions(n_direction: int) -> np.ndarray:
    """Spread directions evenly over the sphere, on a turned spiral."""
    height = 1 - (2 * np.arange(n_direction) + 1) / n_direction
    angle = np.pi * (1 + 5**0.5) * np.arange(n_direction)
    radius = np.sqrt(1 - height**2)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
    return points @ Rotation.from_euler("xyz", [0.3, 0.5, 0.7]).as_matrix()


def gradient_table(bvals: tuple[float, ...] = (1000.0,)) -> GradientTable:
    """Give two b=0 volumes, then ``N_DIRECTION`` directions per shell."""
    bvecs = np.vstack([np.zeros((2, 3)), *[spread_directions(N_DIRECTION)] * len(bvals)])
    return GradientTable(np.repeat([0.0, *bvals], [2, *[N_DIRECTION] * len(bvals)]), bvecs)


def responses(
    tissues: tuple[str, ...] = ("WM", "CSF"), bvals: tuple[float, ...] = (1000.0,)
) -> dict[str, Response]:
    """Give the true responses of the phantom's tissues."""
    shell_bvals = np.array([0.0, *bvals])
    zonal = true_responses(shell_bvals)
    return {name: Response(name, shell_bvals, zonal[name]) for name in tissues}


def signal_model(
    tissues: tuple[str, ...] = ("WM", "CSF"), bvals: tuple[float, ...] = (1000.0,), lmax: int = LMAX
) -> SignalModel:
    """Give the physics of such an acquisition."""
    gradients = gradient_table(bvals)
    shells = cluster_shells(gradients.bvals)
    return build_signal_model(gradients, shells, responses(tissues, bvals), lmax)


def tiny_signal(
    model: SignalModel, shape: tuple[int, int, int] = (6, 6, 6), noise: float = 0.02
) -> np.ndarray:
    """Scan fibres along x left, along z right and some fluid below, in scanner units."""
    generator = np.random.default_rng(0)
    fibres = sh_basis(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), model.lmax)
    coefficients = np.zeros((*shape, model.kernel.shape[1]))
    coefficients[: shape[0] // 2, ..., : model.n_coef] = fibres[0]
    coefficients[shape[0] // 2 :, ..., : model.n_coef] = fibres[1]
    fluid = 0.3 if len(model.tissues) > 1 else 0.0
    coefficients[:, :, : shape[2] // 3] *= 1.0 - fluid
    if fluid:
        coefficients[:, :, : shape[2] // 3, -1] = fluid / np.sqrt(4 * np.pi)
    signal = coefficients @ model.kernel.T
    noisy = np.abs(signal + noise * generator.standard_normal(signal.shape))
    return (noisy * model.scale).astype(np.float32)


def tiny_network(model: SignalModel, *, seed: int = 0, trained: bool = False) -> ShdNetwork:
    """Build a network; ``trained`` gives its last layers weights, which are zero at first."""
    generator = torch.Generator().manual_seed(seed)
    settings = NetworkSettings(
        n_side=TINY.n_side,
        n_level=TINY.n_level,
        filters=TINY.filters,
        n_order=TINY.n_order,
        n_shell=model.n_shell,
        tissues=model.tissues,
    )
    network = ShdNetwork(settings, model.lmax, generator)
    if trained:
        for layer in (network.unet.head, network.direct):
            torch.nn.init.normal_(layer.spherical_weight, std=0.1, generator=generator)
    return network.eval()


def tiny_physics(model: SignalModel, seen: np.ndarray | None = None) -> Physics:
    """Give the physics as the tiny network meets it."""
    return Physics(model, TINY.n_side, AXES_RAS, seen)


def tiny_scan(
    model: SignalModel, shape: tuple[int, int, int] = (6, 6, 6), *hidden: Physics
) -> MaskedScan:
    """Cut the tiny scan to a mask that leaves out a corner."""
    mask = np.ones(shape, dtype=bool)
    mask[:2, :2, :2] = False
    dwi = tiny_signal(model, shape)
    return crop_to_mask(dwi, mask, model.scale, [tiny_physics(model), *hidden])


def whole(scan: MaskedScan) -> Patch:
    """Give all of a scan as one patch."""
    return scan.patch(scan.row.unsqueeze(0), scan.views[0])


def apply(network: ShdNetwork, patch: Patch, *options: torch.dtype) -> torch.Tensor:
    """Apply a network to a patch."""
    return network(patch.physics, patch.dwi, patch.start, *options)
