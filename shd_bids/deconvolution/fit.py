"""Deconvolve a scan with SHD, SHD-TV or a predecessor: train a network on it, or take one."""

import logging
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.shells import Shells
from shd_bids.response.io import Response

from .checkpoint import load_weights
from .computing import Computing
from .forward import SignalModel, build_signal_model, lobe_by_degree
from .history import CHECKPOINT_SECONDS, History
from .losses import LossWeights
from .network import NetworkSettings, ShdNetwork
from .parallel import Team
from .patches import MaskedScan, crop_to_mask
from .physics import Physics, hide_directions
from .predict import predict
from .presets import VARIANTS, Preset
from .solution import FodfSolution
from .train import train
from .voxelwise import make_solution

LOGGER = logging.getLogger(__name__)

#: What each model of this network is called in file names.
SHD_LABELS = {"shd-tv": "shdtv", "shd": "shd", "esd": "esd", "rt-esd": "rtesd"}


@dataclass(frozen=True)
class ShdFit:
    """A deconvolved scan, and how it came about.

    Attributes
    ----------
    solution
        Fibre orientations and tissues.
    network
        With the weights that made it.
    history
        Of the training; empty if the weights were given.
    weights
        Of the terms of the loss.
    details
        Settings and times, for the summary.
    """

    solution: FodfSolution
    network: ShdNetwork
    history: History
    weights: LossWeights
    details: dict[str, Any]


def fit_shd(
    dwi: Float[np.ndarray, "x y z volume"],
    gradients: GradientTable,
    shells: Shells,
    mask: Bool[np.ndarray, "x y z"],
    responses: dict[str, Response],
    *,
    affine: Float[np.ndarray, "4 4"],
    model: str = "shd-tv",
    preset: Preset,
    lmax: int = 8,
    tv_weight: float | None = None,
    device: str = "auto",
    precision: str = "auto",
    random_seed: int = 0,
    n_threads: int = 1,
    weights_file: Path | None = None,
    checkpoint_file: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    team: Team = Team(),  # noqa: B008  # frozen
) -> ShdFit:
    """Deconvolve all shells with a network.

    Parameters
    ----------
    dwi
        Diffusion data, scanner units.
    gradients
        One row per volume, world axes.
    shells
        Shell of each volume.
    mask
        Voxels to fit.
    responses
        ``WM`` and any of ``GM`` and ``CSF``.
    model
        ``shd-tv``, ``shd``, ``esd`` (each voxel alone) or ``rt-esd`` (SHD on the full sphere).
    preset
        Size and schedule of the network.
    lmax
        Degree of the fODF, even; lowered, with a warning, to what the network's vertices carry.
    tv_weight
        Of the total variation, instead of the model's own.
    device, precision
        As ``choose_device`` and ``choose_precision`` take them.
    random_seed
        Of the weights and the patches.
    n_threads
        On the CPU.
    weights_file
        Weights to use without training.
    checkpoint_file
        Where to save the training and to resume it from.
    checkpoint_seconds
        Least time between two savings.
    team
        Processes that train and predict together; all have the result.
    """
    computing = Computing.set_up(device, precision, n_threads, team)
    lmax = limit_degree(lmax, preset)
    signal_model = build_signal_model(gradients, shells, responses, lmax)
    generator = torch.Generator().manual_seed(random_seed)
    network = build_network(
        model, preset, signal_model.n_shell, signal_model.tissues, lmax, generator
    ).to(computing.device)
    if not network.settings.spatial:
        preset = replace(preset, halo=0)
    if weights_file is not None:  # before the start, which takes minutes
        load_weights(network, weights_file)
        LOGGER.info("Took the weights of %s; there is no training.", weights_file)
    hiding = preset if weights_file is None else None
    scan = prepare_scan(
        dwi, mask, affine, signal_model, network, preset=hiding, generator=generator
    )
    weights = LossWeights.for_model(model, tv_weight)
    history = History()
    if weights_file is None:
        history = train(
            network,
            [scan],
            preset,
            weights=weights,
            generator=generator,
            compute_dtype=computing.dtype,
            checkpoint_file=checkpoint_file,
            checkpoint_seconds=checkpoint_seconds,
            team=team,
        )
    start = time.monotonic()
    coefficients = predict(network, scan, preset, compute_dtype=computing.dtype, team=team)
    seconds = time.monotonic() - start
    residual = coefficients @ scan.views[0].physics.kernel.cpu().T - scan.dwi[1:].cpu()
    rmse = residual.square().mean(dim=-1).sqrt()
    details = describe_fit(network, preset, weights, computing, random_seed) | {
        "weights_file": str(weights_file) if weights_file else None,
        "training_seconds": history.seconds[-1] if history.seconds else 0.0,
        "prediction_seconds": seconds,
        "prediction_voxels_per_s": len(coefficients) / seconds,
        "response_b0": signal_model.scale,
    }
    label, isotropic = SHD_LABELS[model], signal_model.tissues[1:]
    lobe = tuple(lobe_by_degree(lmax).tolist())
    solution = make_solution(label, mask, coefficients.numpy(), rmse.numpy(), isotropic, lobe)
    return ShdFit(solution, network, history, weights, details)


def build_network(
    model: str,
    preset: Preset,
    n_shell: int,
    tissues: tuple[str, ...],
    lmax: int,
    generator: torch.Generator,
) -> ShdNetwork:
    """Build the network of a model, on the CPU, with weights from ``generator``."""
    settings = NetworkSettings(
        n_side=preset.n_side,
        n_level=preset.n_level,
        filters=preset.filters,
        n_order=preset.n_order,
        n_shell=n_shell,
        tissues=tissues,
        **VARIANTS.get(model, {}),
    )
    return ShdNetwork(settings, lmax, generator)


def describe_fit(
    network: ShdNetwork,
    preset: Preset,
    weights: LossWeights,
    computing: Computing,
    random_seed: int,
) -> dict[str, Any]:
    """Give what the summary says of every network, whether of one scan or of a study."""
    return {
        "lmax": network.lmax,
        "tissues": list(network.settings.tissues),
        **computing.describe(),
        "random_seed": random_seed,
        "network": asdict(preset),
        "n_parameter": sum(weight.numel() for weight in network.parameters()),
        "loss_weights": asdict(weights),
    }


def prepare_scan(
    dwi: Float[np.ndarray, "x y z volume"],
    mask: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    signal_model: SignalModel,
    network: ShdNetwork,
    *,
    preset: Preset | None,
    generator: torch.Generator,
) -> MaskedScan:
    """Make a scan ready for a network, on its device.

    Parameters
    ----------
    dwi, mask, affine
        The scan, scanner units.
    signal_model
        Its physics.
    network
        That will be given it.
    preset
        How much of the scan is hidden; None, where no network is trained, hides nothing.
    generator
        Deals the directions.
    """
    place, settings = network.to_sh.device, network.settings
    parts: list[Bool[np.ndarray, " volume"] | None] = [None]
    if preset is not None:
        parts += hide_directions(
            signal_model.shell_index,
            preset.hidden_parts,
            preset.hidden_views,
            generator,
            preset.shown_directions,
        )
    axes_ras = affine[:3, :3] if settings.spatial else None
    views = [Physics(signal_model, settings.n_side, axes_ras, seen).to(place) for seen in parts]
    return crop_to_mask(dwi, mask, signal_model.scale, views)


def limit_degree(lmax: int, preset: Preset) -> int:
    """Limit the degree to what the vertices of the network can carry."""
    largest = preset.largest_degree
    if lmax > largest:
        LOGGER.warning(
            "--lmax %d is more than a sphere with n_side %d carries; using %d. "
            "A larger --shd-preset carries more.",
            lmax,
            preset.n_side,
            largest,
        )
    return min(lmax, largest)
