"""How the processes of a team compute: threads, device and precision."""

import logging
from dataclasses import dataclass

import torch

from .device import choose_device, choose_precision, describe_device
from .parallel import Team

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Computing:
    """Where a process computes, and in which precision.

    Attributes
    ----------
    device
        Of this process.
    dtype
        Precision of the U-Net.
    team
        Processes that compute together.
    """

    device: torch.device
    dtype: torch.dtype
    team: Team

    @classmethod
    def set_up(cls, device: str, precision: str, n_threads: int, team: Team) -> "Computing":
        """Set the threads, choose device and precision by name, and say what was chosen.

        Parameters
        ----------
        device, precision
            As ``choose_device`` and ``choose_precision`` take them.
        n_threads
            On the CPU.
        team
            Each of its processes has a card of its own.
        """
        torch.set_num_threads(n_threads)
        place = team.place(choose_device(device))
        dtype = choose_precision(precision, place)
        LOGGER.info("Computing on %s in %s.", describe_device(place), dtype)
        return cls(place, dtype, team)

    def describe(self) -> dict[str, str | int]:
        """Give what the summary of a fit says about it."""
        return {
            "device": describe_device(self.device),
            "precision": str(self.dtype).removeprefix("torch."),
            "n_process": self.team.size,
        }
