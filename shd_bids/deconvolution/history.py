"""The course of a training: what is kept of it, and what is said about it."""

import logging
import time
from dataclasses import dataclass, field

LOGGER = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 60.0
_SECONDS_BETWEEN_LINES = 10.0


@dataclass
class History:
    """The course of a training: one entry per record, each the mean since the last.

    ``loss`` holds the terms, their weighted sum ``total``, and ``start``: what that sum is in the
    same patches before any training.
    """

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


class Clock:
    """Tells how long a training has run, over all its interruptions, and when to speak."""

    def __init__(
        self, history: History, n_step: int, checkpoint_seconds: float = CHECKPOINT_SECONDS
    ) -> None:
        self.history = history
        self.n_step = n_step
        self.checkpoint_seconds = checkpoint_seconds
        self.before = history.seconds[-1] if history.seconds else 0.0
        self.start = self.spoken = self.saved = time.monotonic()

    def seconds(self) -> float:
        """Give the seconds spent on training."""
        return self.before + time.monotonic() - self.start

    def log(self, step: int, means: dict[str, float]) -> None:
        """Tell the mean terms of the loss, now and then."""
        now = time.monotonic()
        if now - self.spoken < _SECONDS_BETWEEN_LINES and step < self.n_step:
            return
        self.spoken = now
        elapsed = self.seconds()
        left = elapsed / step * (self.n_step - step)
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
        """Tell whether the last checkpoint is old, or the training over."""
        due = time.monotonic() - self.saved >= self.checkpoint_seconds or step == self.n_step
        if due:
            self.saved = time.monotonic()
        return due
