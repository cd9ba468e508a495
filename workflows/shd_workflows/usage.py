"""What each step took of time and memory; light, because every step's process imports it."""

import logging
import resource
import sys
from dataclasses import dataclass

LOGGER = logging.getLogger(__name__)
_TOLERATED = 1.2  # of the memory that a step declares
_UNIT = 1.0 if sys.platform == "darwin" else 1024.0  # bytes in which the system counts


@dataclass(frozen=True)
class StepUse:
    """What one step took.

    Attributes
    ----------
    seconds
        Wall time.
    peak_gb
        Most memory that its process took beyond what all such processes share, or that the largest
        program took that it started; None if it is not known.
    mem_gb
        What it declares to need; None if it is not known.
    """

    seconds: float
    peak_gb: float | None = None
    mem_gb: float | None = None

    @property
    def is_over(self) -> bool:
        """Tell whether it took clearly more than it declares."""
        if self.peak_gb is None or self.mem_gb is None:
            return False
        return self.peak_gb > _TOLERATED * self.mem_gb


def held_gb() -> float:
    """Give the most memory that this process has held until now, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT / 1e9


def peak_gb(shared_gb: float) -> float:
    """Give the most memory that this process, or a program it started, has taken, GB.

    Parameters
    ----------
    shared_gb
        What the process held when it began, in pages that it shares with its like.

    Returns
    -------
    float
        A process and its programs are not added up: their largest counts.
    """
    own = held_gb()
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _UNIT / 1e9
    # The system counts what a parent holds as a child's, until that has loaded its program.
    return max(own - shared_gb, child if child > own else 0.0)


def tell_excess(name: str, use: StepUse) -> None:
    """Say so when a step took clearly more memory than it declares."""
    if use.is_over:
        LOGGER.info(
            "%s took %.1f GB, more than the %.1f GB it declares; if memory runs out, give fewer "
            "--nprocs.",
            name,
            use.peak_gb,
            use.mem_gb,
        )
