"""What is still done when the process is asked to end, and that it does not outlive its parent."""

import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def on_termination(save: Callable[[], None]) -> Iterator[None]:
    """Call ``save`` before SIGTERM, with which schedulers take a machine back, ends the process.

    Raises
    ------
    SystemExit
        With ``EXIT_CODE``, on SIGTERM.
    """

    def end(number: int, frame: FrameType | None) -> None:
        save()
        raise SystemExit(EXIT_CODE)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
