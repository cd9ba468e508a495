"""The signals that ask the whole run to end: heard once, and not lost wherever they come.

SIGTERM comes from schedulers and container engines before they kill, SIGINT from Ctrl-C, SIGHUP
from a terminal that is closed. As the first process of a container, a program would not hear of
any without a handler.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_heard: list[int] = []  # as much a state of the whole process as its handlers are


class Interrupted(BaseException):
    """The run was asked to end; no `except Exception` on the way may stop it.

    Attributes
    ----------
    number
        Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell gives for a process that the signal ended."""
        return 128 + self.number


@contextmanager
def hear_signals() -> Iterator[None]:
    """Raise `Interrupted` at a signal that asks to end; a second Ctrl-C ends the process at once.

    What is ignored from the start, as ``nohup`` and a shell's ``&`` want it, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals
        return
    before = {
        number: signal.getsignal(number)
        for number in _SIGNALS
        if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN
    }
    for number in before:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        _heard.clear()


def raise_if_interrupted() -> None:
    """Raise `Interrupted` again where something has swallowed it.

    A signal may come while a destructor runs, out of which Python lets no exception pass.
    """
    if _heard:
        raise Interrupted(_heard[0])


def _end(number: int, frame: FrameType | None) -> NoReturn:
    _heard.append(number)
    for other in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)  # what is done at the end is done once
    signal.signal(signal.SIGINT, _leave)
    raise Interrupted(number)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(128 + number)  # the processes of nodes end when they see this
