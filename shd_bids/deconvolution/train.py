"""Unsupervised training of the network on the scan that it will deconvolve."""

import logging
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shd_bids.errors import TrainingError

from .checkpoint import load_checkpoint, save_checkpoint
from .history import Clock, History
from .losses import LossWeights, ShdLoss
from .network import ShdNetwork
from .patches import MaskedScan, PatchSampler
from .presets import Preset

LOGGER = logging.getLogger(__name__)

_WARM_UP = 0.1  # share of the steps during which the learning rate rises
_LARGEST_GRADIENT = 0.01  # typical ones are a tenth of it; rare ones are a hundred times it
_WEIGHT_DECAY = 1e-4
_DIVERGED = 3.0  # times the loss that the same patches had before training
_N_RETURN = 10
_N_RECORD = 100
_N_CALIBRATION = 16


@torch.no_grad()
def calibrate(
    network: ShdNetwork, sampler: PatchSampler, n_patch: int, compute_dtype: torch.dtype
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


@dataclass
class _Training:
    """What changes during a training, and so belongs in a checkpoint."""

    network: ShdNetwork
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    generator: torch.Generator
    history: History = field(default_factory=History)
    step: int = 0
    n_return: int = 0
    good: dict[str, Any] = field(default_factory=dict)
    latest: dict[str, Any] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
            "history": vars(self.history),
            "step": self.step,
            "n_return": self.n_return,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generator"].cpu())
        vars(self.history).update(state["history"])
        self.step = state["step"]
        self.n_return = state["n_return"]

    def remember(self) -> None:
        """Keep the last state but one to go back to: the losses since have shown it good."""
        self.latest, self.good = deepcopy(self.state()), self.latest
        self.good = self.good or self.latest

    def go_back(self) -> None:
        """Return to the state kept; the learning rate is halved once for every return."""
        n_return = self.n_return + 1
        self.restore(deepcopy(self.good))
        factor = 0.5 ** (n_return - self.n_return)
        for group in self.optimiser.param_groups:
            for rate in ("lr", "initial_lr", "max_lr", "min_lr"):
                group[rate] *= factor
        self.latest, self.n_return = self.good, n_return


def train(
    network: ShdNetwork,
    scans: Sequence[MaskedScan],
    preset: Preset,
    *,
    weights: LossWeights,
    generator: torch.Generator,
    compute_dtype: torch.dtype = torch.float32,
    checkpoint_file: Path | None = None,
) -> History:
    """Fit the network to scans, without any ground truth.

    Every masked voxel of a patch contributes to the loss. AdamW with a one-cycle learning rate;
    the course is logged and, about once a minute, everything needed to go on is saved. Where the
    loss explodes, training goes back to the last record but one and on with half the learning
    rate.

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
        Draws the patches; on the CPU.
    compute_dtype
        Precision of the U-Net.
    checkpoint_file
        Where to save and to resume from; an interrupted training goes on as if it had not been.

    Returns
    -------
    history
        Mean loss terms over the steps.

    Raises
    ------
    TrainingError
        If the loss explodes or is no number, however small the learning rate.
    """
    criterion = ShdLoss(network.lmax, preset.loss_n_side, weights).to(scans[0].dwi.device)
    sampler = PatchSampler(scans, preset.patch, generator)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=preset.learning_rate, weight_decay=_WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, preset.learning_rate, total_steps=preset.steps, pct_start=_WARM_UP
    )
    training = _Training(network, optimiser, schedule, generator)
    if checkpoint_file is not None and (state := load_checkpoint(checkpoint_file)) is not None:
        training.restore(state)
        LOGGER.info("Training goes on after step %d.", training.step)
    else:
        calibrate(network, sampler, preset.batch, compute_dtype)
    training.remember()
    # The normalisation stays as calibrated: batch statistics vary from patch to patch, and a
    # network that has learnt with them deconvolves badly with their mean.
    network.eval()
    clock = Clock(training.history, preset.steps)
    record_every = max(preset.steps // _N_RECORD, 1)
    total: dict[str, Tensor] = {}
    n_total = torch.zeros((), device=scans[0].dwi.device)
    while training.step < preset.steps:
        patch = sampler.draw(preset.batch)
        physics, dwi, start = patch.physics, patch.dwi, patch.start
        terms = criterion(network(physics, dwi, start, compute_dtype), patch)
        optimiser.zero_grad(set_to_none=True)
        # A patch counts by its voxels: the few of one at the rim are not worth those of another.
        n_voxel = patch.mask.sum()
        (terms["total"] * (n_voxel / patch.mask.numel())).backward()
        nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
        optimiser.step()
        schedule.step()
        training.step += 1
        training.history.n_voxel += int(n_voxel)
        with torch.no_grad():
            initial = criterion(network.initial(physics, dwi, start), patch)
        for name, value in (terms | {"start": initial["total"]}).items():
            total[name] = total.get(name, 0.0) + value.detach() * n_voxel
        n_total = n_total + n_voxel
        if training.step % record_every == 0 or training.step == preset.steps:
            means = {name: (value / n_total).item() for name, value in total.items()}
            total, n_total = {}, torch.zeros_like(n_total)
            diverged = not means["total"] <= _DIVERGED * means["start"]
            if diverged and training.n_return < _N_RETURN:
                LOGGER.warning(
                    "The loss rose to %.3g at step %d, from %.3g before training: training goes "
                    "back to step %d and on with half the learning rate.",
                    means["total"],
                    training.step,
                    means["start"],
                    training.good["step"],
                )
                training.go_back()
                continue
            if diverged:
                raise TrainingError(
                    f"The loss is {means['total']:.3g} at step {training.step}, from "
                    f"{means['start']:.3g} before training, however small the learning rate. Check "
                    "the data and the responses for extreme values and for values that are no "
                    "numbers; --precision float32 may help."
                )
            training.history.add(training.step, clock.seconds(), means)
            training.remember()
            clock.log(training.step, means)
            if checkpoint_file is not None and clock.checkpoint_is_due(training.step):
                save_checkpoint(training.state(), checkpoint_file)
    return training.history
