"""The state of a training: kept to go back to, and saved to go on from."""

import logging
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shd_bids.errors import TrainingError

from .checkpoint import load_checkpoint, save_checkpoint
from .history import History
from .network import ShdNetwork
from .parallel import Team

LOGGER = logging.getLogger(__name__)

_N_RETURN = 10


@dataclass
class TrainingState:
    """What changes during a training, and so belongs in a checkpoint.

    Attributes
    ----------
    network, optimiser, schedule, generator
        Changed in place; the generator is this process's own.
    team
        Processes that train together.
    history
        Of the steps until now.
    step
        Number of steps taken.
    n_return, returned_to
        How often the training went back, and to which step the last time.
    since_record
        Sums of the loss terms over the steps since the last record.
    first, good, latest
        States to go back to: the beginning, one that later losses have shown good, and that of the
        last record, from which a training goes on that was killed.
    """

    network: ShdNetwork
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.OneCycleLR
    generator: torch.Generator
    team: Team
    history: History = field(default_factory=History)
    step: int = 0
    n_return: int = 0
    returned_to: int | None = None
    since_record: dict[str, Tensor] = field(default_factory=dict)
    first: dict[str, Any] = field(default_factory=dict)
    good: dict[str, Any] = field(default_factory=dict)
    latest: dict[str, Any] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """Give the present state; its tensors are those in use."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generators": self.team.gather(self.generator.get_state()),
            "history": vars(self.history),
            "step": self.step,
            "n_return": self.n_return,
            "returned_to": self.returned_to,
            "since_record": self.team.gather(
                {name: value.cpu() for name, value in self.since_record.items()}
            ),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state, whose tensors may come into use."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generators"][self.team.rank].cpu())
        vars(self.history).update(state["history"])
        self.step = state["step"]
        self.n_return = state["n_return"]
        self.returned_to = state["returned_to"]
        device = self.network.to_sh.device
        sums = state["since_record"][self.team.rank]
        self.since_record = {name: value.to(device) for name, value in sums.items()}

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

    def undo(self, means: dict[str, float]) -> None:
        """Go back from where the loss has exploded.

        Parameters
        ----------
        means
            Terms of the loss since the last record.

        Raises
        ------
        TrainingError
            If that has not helped often enough.
        """
        if self.n_return >= _N_RETURN:
            raise TrainingError(
                f"The loss is {means['total']:.3g} at step {self.step}, from "
                f"{means['start']:.3g} before training, however small the learning rate. Check "
                "the data and the responses for extreme values and for values that are no "
                "numbers; --precision float32 may help."
            )
        step = self.step
        self.go_back()
        LOGGER.warning(
            "The loss rose to %.3g at step %d, from %.3g before training: training goes back to "
            "step %d and on with half the learning rate.",
            means["total"],
            step,
            means["start"],
            self.step,
        )

    def save(
        self, file: Path, settings: Mapping[str, Any], present: Mapping[str, Any] | None = None
    ) -> None:
        """Save the states that are kept, for a training with these settings.

        Parameters
        ----------
        file
            Replaced.
        settings
            Of the training.
        present
            The state to go on from, as `state` gives it; that of the last record by default.
        """
        kept = {"latest": self.latest, "good": self.good, "first": self.first}
        save_checkpoint(kept | {"present": present or self.latest}, file, settings)

    def resume(self, file: Path | None, settings: Mapping[str, Any]) -> bool:
        """Go on from what the first process has saved; tell whether there was anything.

        Raises
        ------
        WeightsError
            If the file was saved with other settings.
        """
        saved = None
        if file is not None and self.team.is_first:
            saved = load_checkpoint(file, settings)
        if (saved := self.team.follow(saved)) is None:
            return False
        self.latest, self.good, self.first = saved["latest"], saved["good"], saved["first"]
        self.restore(deepcopy(saved["present"]))
        return True
