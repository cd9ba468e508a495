"""Unsupervised training of the network on the scan that it will deconvolve."""

import hashlib
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shd_bids.errors import TrainingError

from .checkpoint import load_checkpoint, save_checkpoint
from .gradient import BatchGradient
from .history import CHECKPOINT_SECONDS, Clock, History
from .interruption import on_termination
from .losses import LossWeights, ShdLoss
from .network import ShdNetwork
from .parallel import Team
from .patches import MaskedScan, PatchSampler
from .presets import Preset

LOGGER = logging.getLogger(__name__)

_WARM_UP = 0.3  # share of the steps during which the learning rate rises
_LARGEST_GRADIENT = 0.01  # typical ones are a tenth of it; rare ones are a hundred times it
_WEIGHT_DECAY = 1e-4
_DIVERGED = 3.0  # times the loss that the same patches had before training
_N_RETURN = 10
_N_RECORD = 100
_STEPS_OF_RECORD = 10  # at least, in all but short trainings: a few patches tell little
_N_CALIBRATION = 16


@torch.no_grad()
def calibrate(
    network: ShdNetwork,
    sampler: PatchSampler,
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
        patch = sampler.draw(n_patch)
        network(patch.physics, patch.dwi, patch.start, compute_dtype)
    for name in ("running_mean", "running_var"):
        team.average_([getattr(norm, name) for norm in norms])


@dataclass
class _Training:
    """What changes during a training, and so belongs in a checkpoint."""

    network: ShdNetwork
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    generator: torch.Generator
    team: Team
    history: History = field(default_factory=History)
    step: int = 0
    n_return: int = 0
    returned_to: int | None = None
    first: dict[str, Any] = field(default_factory=dict)
    good: dict[str, Any] = field(default_factory=dict)
    latest: dict[str, Any] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generators": self.team.gather(self.generator.get_state()),
            "history": vars(self.history),
            "step": self.step,
            "n_return": self.n_return,
            "returned_to": self.returned_to,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generators"][self.team.rank].cpu())
        vars(self.history).update(state["history"])
        self.step = state["step"]
        self.n_return = state["n_return"]
        self.returned_to = state["returned_to"]

    def remember(self) -> None:
        """Keep the last state but one to go back to: the losses since have shown it good."""
        self.latest, self.good = deepcopy(self.state()), self.latest
        self.good = self.good or self.latest
        self.first = self.first or self.latest

    def go_back(self) -> None:
        """Return to the state kept; the learning rate is halved once for every return.

        A second return to the same state shows that it is bad itself: then to the beginning.
        """
        n_return = self.n_return + 1
        kept = self.first if self.good["step"] == self.returned_to else self.good
        state = deepcopy(kept)
        # Other patches than those on which it went wrong: these may be bad at this state, too.
        state["generators"] = self.team.gather(self.generator.get_state())
        self.restore(state)
        factor = 0.5 ** (n_return - self.n_return)
        for group in self.optimiser.param_groups:
            for rate in ("lr", "initial_lr", "max_lr", "min_lr"):
                group[rate] *= factor
        self.n_return, self.returned_to = n_return, self.step
        self.latest = self.good = deepcopy(self.state())


def train(
    network: ShdNetwork,
    scans: Sequence[MaskedScan],
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
    the course is logged and, about once a minute and on SIGTERM, everything needed to go on is
    saved. Where the loss explodes, training goes back to the last record but one and on with half
    the learning rate.

    Parameters
    ----------
    network
        On the device where it shall be trained; changed in place.
    scans
        On the same device.
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
    """
    criterion = ShdLoss(network.lmax, preset.loss_n_side, weights).to(scans[0].dwi.device)
    settings = {
        **asdict(preset),
        "loss_weights": asdict(weights),
        "network": network.settings.to_metadata() | {"lmax": network.lmax},
        "precision": str(compute_dtype),
        "random_seed": _digest(generator.get_state()),
        # A thousand voxels tell one scan from another.
        "data": team.gather([_digest(scan.dwi[:: len(scan.dwi) // 1000 + 1]) for scan in scans]),
    }
    generator = team.own_generator(generator)
    sampler = PatchSampler(scans, preset.patch, generator)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=preset.learning_rate, weight_decay=_WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, preset.learning_rate, total_steps=preset.steps, pct_start=_WARM_UP
    )
    training = _Training(network, optimiser, schedule, generator, team)
    saved = None
    if checkpoint_file is not None and team.is_first:
        saved = load_checkpoint(checkpoint_file, settings)
    if (saved := team.follow(saved)) is not None:
        training.latest, training.good = saved["latest"], saved["good"]
        training.first = saved["first"]
        training.restore(deepcopy(training.latest))
        LOGGER.info("Training goes on after step %d.", training.step)
    else:
        calibrate(network, sampler, preset.batch, compute_dtype, team)
        training.remember()

    def save() -> None:
        if checkpoint_file is not None and team.is_first:
            kept = {name: getattr(training, name) for name in ("latest", "good", "first")}
            save_checkpoint(kept, checkpoint_file, settings)

    def save_at_the_end() -> None:
        save()
        LOGGER.warning(
            "The process was asked to end; the training is saved up to step %d, from where the "
            "same command goes on.",
            training.latest["step"],
        )

    # The normalisation stays as calibrated: batch statistics vary from patch to patch, and a
    # network that has learnt with them deconvolves badly with their mean.
    network.eval()
    clock = Clock(training.history, preset.steps, checkpoint_seconds)
    record_every = max(preset.steps // _N_RECORD, min(preset.steps // 20, _STEPS_OF_RECORD), 1)
    n_voxel = team.gather(int(sampler.last[-1]))  # processes count by the voxels of their scans
    weight = n_voxel[team.rank] * team.size / sum(n_voxel)
    gradient = BatchGradient(network, criterion, compute_dtype, team, weight)
    total: dict[str, Tensor] = {}
    handles_end = checkpoint_file is not None and team.is_first
    with on_termination(save_at_the_end) if handles_end else nullcontext():
        while training.step < preset.steps:
            for name, value in gradient(sampler.draw(preset.batch)).items():
                total[name] = total.get(name, 0.0) + value
            nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
            optimiser.step()
            schedule.step()
            training.step += 1
            if training.step % record_every and training.step < preset.steps:
                continue
            sums = dict(zip(total, team.add(torch.stack([*total.values()])).tolist(), strict=True))
            n_total = sums.pop("n_voxel")
            means, total = {name: value / n_total for name, value in sums.items()}, {}
            diverged = not means["total"] <= _DIVERGED * means["start"]
            if diverged and training.n_return < _N_RETURN:
                step = training.step
                training.go_back()
                LOGGER.warning(
                    "The loss rose to %.3g at step %d, from %.3g before training: training goes "
                    "back to step %d and on with half the learning rate.",
                    means["total"],
                    step,
                    means["start"],
                    training.step,
                )
                continue
            if diverged:
                raise TrainingError(
                    f"The loss is {means['total']:.3g} at step {training.step}, from "
                    f"{means['start']:.3g} before training, however small the learning rate. Check "
                    "the data and the responses for extreme values and for values that are no "
                    "numbers; --precision float32 may help."
                )
            training.history.n_voxel += round(n_total)
            training.history.add(training.step, clock.seconds(), means)
            training.remember()
            clock.log(training.step, means)
            if clock.checkpoint_is_due(training.step):
                save()
    return training.history


def _digest(values: Tensor) -> str:
    return hashlib.sha256(values.cpu().numpy().tobytes()).hexdigest()
