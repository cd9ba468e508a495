"""Unsupervised training of the network on the scan that it will deconvolve."""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .checkpoint import load_checkpoint, save_checkpoint
from .losses import LossWeights, ShdLoss
from .network import ShdNetwork
from .patches import MaskedScan, PatchSampler
from .presets import Preset

LOGGER = logging.getLogger(__name__)

_WARM_UP = 0.1  # share of the steps during which the learning rate rises
_LARGEST_GRADIENT = 0.01  # typical ones are a tenth of it; rare ones are a hundred times it
_WEIGHT_DECAY = 1e-4
_N_RECORD = 100
_N_CALIBRATION = 16
_SECONDS_BETWEEN_CHECKPOINTS = 60.0
_SECONDS_BETWEEN_LINES = 10.0


@dataclass
class History:
    """The course of a training: one entry per record, each the mean since the last."""

    step: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    loss: dict[str, list[float]] = field(default_factory=dict)
    n_voxel: int = 0

    def add(self, step: int, seconds: float, terms: dict[str, float]) -> None:
        """Append a record."""
        self.step.append(step)
        self.seconds.append(seconds)
        for name, value in terms.items():
            self.loss.setdefault(name, []).append(value)


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
        dwi, start, _ = sampler.draw(n_patch)
        network(dwi, start, compute_dtype)


@dataclass
class _Training:
    """What changes during a training, and so belongs in a checkpoint."""

    network: ShdNetwork
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    generator: torch.Generator
    history: History = field(default_factory=History)
    step: int = 0

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
            "history": vars(self.history),
            "step": self.step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generator"].cpu())
        self.history = History(**state["history"])
        self.step = state["step"]


def train(
    network: ShdNetwork,
    scan: MaskedScan,
    preset: Preset,
    *,
    weights: LossWeights,
    generator: torch.Generator,
    compute_dtype: torch.dtype = torch.float32,
    checkpoint_file: Path | None = None,
) -> History:
    """Fit the network to one scan, without any ground truth.

    Every masked voxel of a patch contributes to the loss. AdamW with a one-cycle learning rate;
    the course is logged and, about once a minute, everything needed to go on is saved.

    Parameters
    ----------
    network
        On the device where it shall be trained; changed in place.
    scan
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
    """
    criterion = ShdLoss(network.lmax, preset.loss_n_side, weights).to(scan.dwi.device)
    sampler = PatchSampler(scan, preset.patch, generator)
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
    # The normalisation stays as calibrated: batch statistics vary from patch to patch, and a
    # network that has learnt with them deconvolves badly with their mean.
    network.eval()
    clock = _Clock(training.history, preset.steps)
    record_every = max(preset.steps // _N_RECORD, 1)
    total: dict[str, torch.Tensor] = {}
    while training.step < preset.steps:
        dwi, start, mask = sampler.draw(preset.batch)
        terms = criterion(network, network(dwi, start, compute_dtype), dwi, mask)
        optimiser.zero_grad(set_to_none=True)
        terms["total"].backward()
        nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
        optimiser.step()
        schedule.step()
        training.step += 1
        training.history.n_voxel += int(mask.sum())
        for name, value in terms.items():
            total[name] = total.get(name, torch.zeros_like(value)) + value.detach()
        if training.step % record_every == 0 or training.step == preset.steps:
            since = training.step - (training.history.step[-1] if training.history.step else 0)
            means = {name: value.item() / since for name, value in total.items()}
            total.clear()
            training.history.add(training.step, clock.seconds(), means)
            clock.log(training.step, means)
            if checkpoint_file is not None and clock.checkpoint_is_due(training.step):
                save_checkpoint(training.state(), checkpoint_file)
    return training.history


class _Clock:
    """Tells how long a training has run, over all its interruptions, and when to speak."""

    def __init__(self, history: History, n_step: int) -> None:
        self.history = history
        self.n_step = n_step
        self.before = history.seconds[-1] if history.seconds else 0.0
        self.step_before = history.step[-1] if history.step else 0
        self.start = self.spoken = self.saved = time.monotonic()

    def seconds(self) -> float:
        return self.before + time.monotonic() - self.start

    def log(self, step: int, means: dict[str, float]) -> None:
        now = time.monotonic()
        if now - self.spoken < _SECONDS_BETWEEN_LINES and step < self.n_step:
            return
        self.spoken = now
        elapsed = self.seconds()
        left = (now - self.start) / (step - self.step_before) * (self.n_step - step)
        terms = ", ".join(f"{name} {value:.3g}" for name, value in means.items())
        LOGGER.info(
            "Step %d of %d: %s; %.0f voxels/s; %.0f s left.",
            step,
            self.n_step,
            terms,
            self.history.n_voxel / max(elapsed, 1e-9),
            left,
        )

    def checkpoint_is_due(self, step: int) -> bool:
        due = time.monotonic() - self.saved >= _SECONDS_BETWEEN_CHECKPOINTS or step == self.n_step
        if due:
            self.saved = time.monotonic()
        return due
