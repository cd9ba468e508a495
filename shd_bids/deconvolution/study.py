"""Train one network on the scans of many participants."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shd_bids.errors import GradientTableError, ResponseError

from .computing import Computing
from .fit import build_network, describe_fit, limit_degree, prepare_scan
from .forward import build_signal_model
from .history import CHECKPOINT_SECONDS, History
from .inputs import ScanFiles, load_scan, read_acquisition
from .losses import LossWeights
from .network import ShdNetwork
from .parallel import Team
from .patches import MaskedScan
from .presets import Preset
from .solution import TISSUES
from .train import train

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyFit:
    """A network for the scans of a study, and how it came about.

    Attributes
    ----------
    network
        Deconvolves any scan with these shells and tissues.
    history
        Of the training.
    weights
        Of the terms of the loss.
    details
        Settings and times, for the summary.
    """

    network: ShdNetwork
    history: History
    weights: LossWeights
    details: dict[str, Any]


def train_study(
    scans: Sequence[ScanFiles],
    *,
    model: str = "shd-tv",
    preset: Preset,
    lmax: int = 8,
    tv_weight: float | None = None,
    b0_threshold: float = 100.0,
    shell_tolerance: float = 80.0,
    device: str = "auto",
    precision: str = "auto",
    random_seed: int = 0,
    n_threads: int = 1,
    checkpoint_file: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    team: Team = Team(),  # noqa: B008  # frozen
) -> StudyFit:
    """Fit one network to many scans; each process of a team loads its share of them.

    Every voxel of the study counts the same; only where there are fewer scans than processes, a
    scan counts by the processes that have it. The other options are those of ``fit_shd``.

    Parameters
    ----------
    scans
        One at least, with as many shells as the first and its tissues; the directions may differ.

    Raises
    ------
    GradientTableError
        If a scan has another number of shells than the first.
    ResponseError
        If a scan has responses of other tissues than the first.
    """
    computing = Computing.set_up(device, precision, n_threads, team)
    lmax = limit_degree(lmax, preset)
    n_shell, tissues = _common_acquisition(scans, b0_threshold, shell_tolerance)
    generator = torch.Generator().manual_seed(random_seed)
    network = build_network(model, preset, n_shell, tissues, lmax, generator)
    network.to(computing.device)
    start = time.monotonic()
    prepared = [
        _load(files, network, preset, random_seed, b0_threshold, shell_tolerance)
        for files in team.share(scans)
    ]
    loading_seconds = time.monotonic() - start
    weights = LossWeights.for_model(model, tv_weight)
    history = train(
        network,
        prepared,
        preset,
        weights=weights,
        generator=generator,
        compute_dtype=computing.dtype,
        checkpoint_file=checkpoint_file,
        checkpoint_seconds=checkpoint_seconds,
        team=team,
    )
    details = describe_fit(network, preset, weights, computing, random_seed) | {
        "n_scan": len(scans),
        "loading_seconds": loading_seconds,
        "training_seconds": history.seconds[-1],
    }
    return StudyFit(network, history, weights, details)


def _common_acquisition(
    scans: Sequence[ScanFiles], b0_threshold: float, shell_tolerance: float
) -> tuple[int, tuple[str, ...]]:
    """Give the number of shells and the tissues, which all processes check of all scans."""
    counts = [read_acquisition(files, b0_threshold, shell_tolerance)[1].n_shell for files in scans]
    tissues = [tuple(name for name in TISSUES if name in files.responses) for files in scans]
    for files, n_shell, names in zip(scans, counts, tissues, strict=True):
        if n_shell != counts[0]:
            raise GradientTableError(
                f"{files.gradients_file} has {n_shell} shells (b=0 counts as one), but "
                f"{scans[0].gradients_file} has {counts[0]}. One network needs the same number in "
                "every scan: leave this one out, or train its kind apart."
            )
        if names != tissues[0]:
            raise ResponseError(
                f"{files.dwi_file} has responses of {', '.join(names)}, but {scans[0].dwi_file} of "
                f"{', '.join(tissues[0])}. One network needs the same tissues in every scan: give "
                "the same responses, or train them apart."
            )
    return counts[0], tissues[0]


def _load(
    files: ScanFiles,
    network: ShdNetwork,
    preset: Preset,
    random_seed: int,
    b0_threshold: float,
    shell_tolerance: float,
) -> MaskedScan:
    inputs = load_scan(files, b0_threshold, shell_tolerance)
    model = build_signal_model(inputs.gradients, inputs.shells, inputs.responses, network.lmax)
    # A generator of its own: what is hidden does not depend on the process that has the scan.
    generator = torch.Generator().manual_seed(random_seed)
    scan = prepare_scan(
        inputs.dwi, inputs.mask, inputs.affine, model, network, preset=preset, generator=generator
    )
    LOGGER.info("Loaded %s: %d voxels.", files.dwi_file, len(scan.dwi) - 1)
    return scan
