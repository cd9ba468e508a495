"""Train one network on the scans of many participants."""

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shd_bids.errors import GradientTableError, ResponseError, ShdBidsError

from .computing import Computing
from .fit import build_network, describe_fit, limit_degree
from .history import CHECKPOINT_SECONDS, History
from .inputs import ScanFiles, read_acquisition
from .losses import LossWeights, ShdLoss
from .network import ShdNetwork
from .parallel import Team
from .presets import Preset
from .solution import TISSUES
from .stream import CutScan, ScanReader, ScanStream
from .train import train

LOGGER = logging.getLogger(__name__)

_READERS = 3
_SECONDS_BETWEEN_LINES = 30.0


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
    losses
        For each scan its ``file`` and ``n_voxel``, and the mean terms of the loss in a block of it
        that is drawn anew, ``start`` being their sum without training; or why the scan ``failed``.
    details
        Settings and times, for the summary.
    """

    network: ShdNetwork
    history: History
    weights: LossWeights
    losses: list[dict[str, Any]]
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
    """Fit one network to many scans, of which a few blocks at a time are in memory.

    Each process of a team visits its share of the scans. Every scan counts the same, whatever its
    size; only where there are fewer scans than processes, a scan counts by the processes that have
    it. A scan that cannot be read is left out. The other options are those of ``fit_shd``.

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
    TrainingError
        If none of the scans can be used, or the loss explodes.
    """
    computing = Computing.set_up(device, precision, n_threads, team)
    lmax = limit_degree(lmax, preset)
    n_shell, tissues = _common_acquisition(scans, b0_threshold, shell_tolerance)
    generator = torch.Generator().manual_seed(random_seed)
    network = build_network(model, preset, n_shell, tissues, lmax, generator)
    network.to(computing.device)
    reader = ScanReader(network, preset, b0_threshold, shell_tolerance, random_seed)
    weights = LossWeights.for_model(model, tv_weight)
    own = team.share(scans)
    start = time.monotonic()
    others = [files for files in scans if files not in own]
    with closing(ScanStream(own, reader, preset.steps, others)) as stream:
        history = train(
            network,
            stream,
            preset,
            weights=weights,
            generator=generator,
            compute_dtype=computing.dtype,
            checkpoint_file=checkpoint_file,
            checkpoint_seconds=checkpoint_seconds,
            team=team,
        )
    seconds = time.monotonic() - start
    criterion = ShdLoss(network.lmax, preset.loss_n_side, weights).to(computing.device)
    own_losses = list(_evaluate(own, reader, criterion, computing.dtype))
    by_file = {loss["file"]: loss for losses in team.gather(own_losses) for loss in losses}
    details = describe_fit(network, preset, weights, computing, random_seed) | {
        "n_scan": len(scans),
        "training_seconds": history.seconds[-1],
        "reading_and_training_seconds": seconds,
    }
    losses = [by_file[str(files.dwi_file)] for files in scans]
    return StudyFit(network, history, weights, losses, details)


@torch.no_grad()
def _evaluate(
    scans: Sequence[ScanFiles], reader: ScanReader, criterion: ShdLoss, compute_dtype: torch.dtype
) -> Iterator[dict[str, Any]]:
    """Judge the network by one block of each scan, in the first of its views."""
    network = reader.network
    LOGGER.info("Trained; now the loss of each of %d scans.", len(scans))
    start = spoken = time.monotonic()
    with ThreadPoolExecutor(_READERS) as readers:
        for first in range(0, len(scans), _READERS):
            now = time.monotonic()
            if now - spoken >= _SECONDS_BETWEEN_LINES:
                spoken, left = now, (now - start) / first * (len(scans) - first)
                LOGGER.info("The loss of %d of %d scans; %.0f s left.", first, len(scans), left)
            some = scans[first : first + _READERS]
            for files, cut in zip(some, readers.map(_Reading(reader), some), strict=True):
                if isinstance(cut, str):
                    yield {"file": str(files.dwi_file), "failed": cut}
                    continue
                (block,) = cut.prepare(reader.device)
                patch = block.patch(block.row[block.inner].unsqueeze(0), block.views[0])
                given = patch.physics, patch.dwi, patch.start
                terms = criterion(network(*given, compute_dtype), patch)
                initial = criterion(network.initial(*given), patch)
                yield {
                    "file": str(files.dwi_file),
                    "n_voxel": int(patch.mask.sum()),
                    **{name: value.item() for name, value in terms.items()},
                    "start": initial["total"].item(),
                }


@dataclass(frozen=True)
class _Reading:
    """Reads a block to judge by; what is wrong with a scan takes its place."""

    reader: ScanReader

    def __call__(self, files: ScanFiles) -> CutScan | str:
        try:
            return self.reader.read(files, "evaluation", n_block=1)
        except ShdBidsError as error:
            return str(error)


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
