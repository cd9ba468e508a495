"""Unsupervised training of the network on the scan that it will deconvolve."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from .gradient import BatchGradient
from .history import CHECKPOINT_SECONDS, Clock, History
from .interruption import EXIT_CODE, Termination, on_termination
from .losses import LossWeights, ShdLoss
from .network import ShdNetwork
from .parallel import Team
from .patches import MaskedScan
from .presets import Preset
from .state import TrainingState
from .stream import FixedPool, MovingSampler, ScanStream, digest

LOGGER = logging.getLogger(__name__)

_WARM_UP = 0.3  # share of the steps during which the learning rate rises
_LARGEST_GRADIENT = 0.01  # typical ones are a tenth of it; rare ones are a hundred times it
_WEIGHT_DECAY = 1e-4
_DIVERGED = 3.0  # times the loss that the same patches had before training
_N_RECORD = 100
_STEPS_OF_RECORD = 10  # at least, in all but short trainings: a few patches tell little
_N_CALIBRATION = 16


@torch.no_grad()
def calibrate(
    network: ShdNetwork,
    sampler: MovingSampler,
    n_patch: int,
    compute_dtype: torch.dtype,
    team: Team,
) -> None:
    """Set the statistics of every normalisation to their mean over random patches."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean
    network.train()
    for _ in range(_N_CALIBRATION):
        patch = sampler.draw(0, n_patch)
        network(patch.physics, patch.dwi, patch.start, compute_dtype)
    for name in ("running_mean", "running_var"):
        team.average_([getattr(norm, name) for norm in norms])


def train(
    network: ShdNetwork,
    scans: Sequence[MaskedScan] | ScanStream,
    preset: Preset,
    *,
    weights: LossWeights,
    generator: torch.Generator,
    compute_dtype: torch.dtype = torch.float32,
    checkpoint_file: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    team: Team = Team(),  # noqa: B008  # frozen
) -> History:
    """Fit the network to scans, without any ground truth.

    Every masked voxel of a patch contributes to the loss. AdamW with a one-cycle learning rate;
    the course is logged and, about once a minute and on SIGTERM after the step under way, all that
    is needed to go on is saved. Where the loss explodes, training goes back to the last record but
    one and on with half the learning rate.

    Parameters
    ----------
    network
        On the device where it shall be trained; changed in place.
    scans
        On the same device, all in memory or visited in turn.
    preset
        Schedule.
    weights
        Of the loss terms.
    generator
        Draws the patches; on the CPU. The same in all processes.
    compute_dtype
        Precision of the U-Net.
    checkpoint_file
        Where to save and to resume from; an interrupted training goes on as if it had not been.
    checkpoint_seconds
        Least time between two savings.
    team
        Processes that train together: each draws a batch of its own, from its own scans, and all
        have the same weights. The first saves.

    Returns
    -------
    history
        Mean loss terms over the steps.

    Raises
    ------
    TrainingError
        If the loss explodes or is no number, however small the learning rate.
    WeightsError
        If the checkpoint belongs to another training.
    DeviceError
        If not even one patch fits in the memory of the card.
    SystemExit
        With ``EXIT_CODE``, after SIGTERM.
    """
    pool = scans if isinstance(scans, ScanStream) else FixedPool(scans)
    criterion = ShdLoss(network.lmax, preset.loss_n_side, weights).to(network.to_sh.device)
    settings = {
        **asdict(preset),
        "loss_weights": asdict(weights),
        "network": network.settings.to_metadata() | {"lmax": network.lmax},
        "precision": str(compute_dtype),
        "random_seed": digest(generator.get_state().numpy().tobytes()),
        "data": team.gather(pool.identity),
    }
    generator = team.own_generator(generator)
    sampler = MovingSampler(pool, preset.patch, generator)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=preset.learning_rate, weight_decay=_WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, preset.learning_rate, total_steps=preset.steps, pct_start=_WARM_UP
    )
    training = TrainingState(network, optimiser, schedule, generator, team)
    if training.resume(checkpoint_file, settings):
        LOGGER.info("Training goes on after step %d.", training.step)
    else:
        calibrate(network, sampler, preset.batch, compute_dtype, team)
        training.remember()

    is_saving = False

    def save(present: dict[str, Any] | None = None) -> None:
        nonlocal is_saving
        if checkpoint_file is None or not team.is_first or is_saving:  # a signal may come anywhere
            return
        is_saving = True
        training.save(checkpoint_file, settings, present)
        is_saving = False

    def end_here() -> NoReturn:
        save(training.state())
        if team.is_first:
            LOGGER.warning(
                "The process was asked to end; the training is saved up to step %d, from where the "
                "same command goes on.",
                training.step,
            )
        raise SystemExit(EXIT_CODE)

    # The normalisation stays as calibrated: batch statistics vary from patch to patch, and a
    # network that has learnt with them deconvolves badly with their mean.
    network.eval()
    clock = Clock(training.history, preset.steps, checkpoint_seconds)
    record_every = max(preset.steps // _N_RECORD, min(preset.steps // 20, _STEPS_OF_RECORD), 1)
    amounts = team.gather(pool.amount)  # processes count by what they have to train on
    weight = amounts[team.rank] * team.size / sum(amounts)
    gradient = BatchGradient(network, criterion, compute_dtype, team, weight)
    # Saved at once up to the last record: the step under way may take longer than there is time.
    handles_end = (
        on_termination(save) if checkpoint_file is not None else nullcontext(Termination())
    )
    with handles_end as termination:
        while True:
            if team.agree(termination.requested):
                end_here()
            if training.step >= preset.steps:
                return training.history
            total = training.since_record
            for name, value in gradient(sampler.draw(training.step, preset.batch)).items():
                total[name] = total.get(name, 0.0) + value
            nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
            optimiser.step()
            schedule.step()
            training.step += 1
            if training.step % record_every and training.step < preset.steps:
                continue
            means, n_total = _average(total, team)
            training.since_record = {}
            if not means["total"] <= _DIVERGED * means["start"]:  # or is no number
                training.undo(means)
                continue
            training.history.n_voxel += round(n_total)
            training.history.add(training.step, clock.seconds(), means)
            training.remember()
            clock.log(training.step, means)
            if clock.checkpoint_is_due(training.step):
                save()


def _average(sums: dict[str, Tensor], team: Team) -> tuple[dict[str, float], float]:
    """Give the mean terms over the voxels of all processes, and the number of these."""
    added = team.add(torch.stack([*sums.values()])).tolist()
    terms = dict(zip(sums, added, strict=True))
    n_voxel = terms.pop("n_voxel")
    return {name: value / n_voxel for name, value in terms.items()}, n_voxel
