"""The processes that train one network together, one on each card, as torchrun starts them.

``torchrun --nproc-per-node 4 -m shd_bids.deconvolution JOB.json``
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from shd_bids.errors import DeviceError

from .device import choose_device
from .interruption import end_with_parent

_PATIENCE = timedelta(hours=6)  # one rank may load and solve its scans while others wait
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Team:
    """Processes that take every step together; one process alone by default.

    All must call the same methods in the same order.

    Attributes
    ----------
    rank
        Number of this process; 0 writes the files.
    size
        Number of processes.
    local_rank
        Number of this process, and of its card, on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def place(self, device: torch.device) -> torch.device:
        """Give each process a card of its own."""
        if self.size == 1 or device.type != "cuda":
            return device
        return torch.device(device.type, self.local_rank)

    def own_generator(self, generator: torch.Generator) -> torch.Generator:
        """Derive a generator for each process from one that is the same in all."""
        if self.size == 1:
            return generator
        seeds = torch.randint(2**62, (self.size,), generator=generator)
        return torch.Generator().manual_seed(int(seeds[self.rank]))

    def share(self, items: Sequence[_Item]) -> list[_Item]:
        """Deal items out to the processes; where there are too few, some have the same."""
        if len(items) < self.size:
            return [items[self.rank % len(items)]]
        return list(items[self.rank :: self.size])

    def add(self, tensor: Tensor) -> Tensor:
        """Add a tensor up over the processes."""
        if self.size == 1:
            return tensor
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    def average_(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over the processes, all in one message."""
        tensors = list(tensors)
        if self.size == 1 or not tensors:
            return
        mean = self.add(torch.cat([tensor.flatten() for tensor in tensors])) / self.size
        parts = mean.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def gather(self, value: Any) -> list[Any]:
        """Give all processes the values of all, in the order of their ranks."""
        values: list[Any] = [value] * self.size
        if self.size > 1:
            distributed.all_gather_object(values, value)
        return values

    def agree(self, wish: bool) -> bool:
        """Tell all processes whether one of them has a wish."""
        if self.size == 1:
            return wish
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        return bool(self.add(torch.tensor(float(wish), device=device)).item())

    def follow(self, value: _Item) -> _Item:
        """Give all processes the value of the first."""
        values = [value]
        if self.size > 1:
            distributed.broadcast_object_list(values)
        return values[0]


@contextmanager
def join_team(device: str) -> Iterator[Team]:
    """Join the processes that torchrun started; without torchrun there is one.

    Parameters
    ----------
    device
        As ``choose_device`` takes it: cards talk through NCCL, processors through Gloo.

    Raises
    ------
    DeviceError
        If there are more processes than cards on this machine.
    """
    if not distributed.is_torchelastic_launched():
        yield Team()
        return
    end_with_parent()
    local_rank = distributed.get_node_local_rank()
    on_card = choose_device(device).type == "cuda"
    if on_card:
        n_card = torch.cuda.device_count()
        if local_rank >= n_card:
            raise DeviceError(
                f"torchrun started more than {n_card} processes on a machine with {n_card} cards. "
                f"Use --nproc-per-node {n_card}, or the device cpu."
            )
        torch.cuda.set_device(local_rank)
    distributed.init_process_group("nccl" if on_card else "gloo", timeout=_PATIENCE)
    yield Team(distributed.get_rank(), distributed.get_world_size(), local_rank)
    # After an error nobody answers any more, and taking leave would wait for the others.
    distributed.destroy_process_group()
