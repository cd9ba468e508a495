"""What is still done when the process is asked to end, and that it does not outlive its parent."""

import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

#: What a shell gives for a process that SIGTERM ended.
EXIT_CODE = 128 + signal.SIGTERM

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the system kill this process when the one that started it dies (Linux).

    A process of torchrun's would go on training, and writing, when torchrun is killed.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


@dataclass
class Termination:
    """Whether this process was asked to end."""

    requested: bool = False


@contextmanager
def on_termination(save: Callable[[], object]) -> Iterator[Termination]:
    """Call ``save`` at SIGTERM, with which schedulers take a machine back, and go on for now.

    What was under way, such as a step of training, can so be ended and saved, too; should the
    process not be given the time, there is what ``save`` has saved.

    Yields
    ------
    Termination
        To be asked when something has come to its end.
    """
    termination = Termination()

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun and the system both send it
        termination.requested = True
        save()

    if threading.current_thread() is not threading.main_thread():
        yield termination  # only the main thread hears signals
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield termination
    finally:
        signal.signal(signal.SIGTERM, before)
