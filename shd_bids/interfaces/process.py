"""Programs that a node starts: their output in the log, their end tied to ours."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from shd_bids.deconvolution.interruption import EXIT_CODE
from shd_bids.errors import DeviceError, ShdBidsError

LOGGER = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1
_KEPT_LINES = 40
_TORCHRUN = "torch/distributed/elastic"  # where its own account of a failure begins
_KILLED_RANK = "Signal 9 (SIGKILL) received by PID"


def run_program(
    command: list[str], cwd: Path, environment: Mapping[str, str] | None = None
) -> None:
    """Run a program, pass its output to the log line by line, and end with it.

    Parameters
    ----------
    command
        Program and arguments.
    cwd
        Where it runs.
    environment
        Variables beside those of this process.

    Raises
    ------
    ShdBidsError
        With the program's last word on standard error, when it fails.
    """
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **_setting(cwd, environment),
    )
    complaints: list[str] = []

    def listen() -> None:
        for line in child.stderr or ():
            complaints.append(line.rstrip())
            LOGGER.debug("%s", complaints[-1])

    with _pass_on_termination(child) as heard:
        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        for line in child.stdout or ():
            if line.strip():
                LOGGER.info("%s", line.rstrip())
        code = child.wait()
        listener.join()
    if code == 0 and not heard:
        return
    if heard or code in (EXIT_CODE, -signal.SIGTERM):
        raise ShdBidsError(
            "The fit was asked to end (SIGTERM), as a scheduler does at its time limit. The same "
            "command goes on from its last checkpoint."
        )
    if code < 0:
        raise DeviceError(_describe_kill(signal.Signals(-code).name))
    for line in complaints[-_KEPT_LINES:]:
        LOGGER.error("%s", line)
    if _KILLED_RANK in "\n".join(complaints):
        raise DeviceError(_describe_kill("SIGKILL"))
    raise ShdBidsError(_last_word(complaints) or f"The fit ended with exit code {code}.")


def run_tool(
    command: Sequence[str], cwd: Path, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run another suite's program to its end, and end with it.

    nipype's own CommandLine joins its words into one line for a shell, which would take a name
    apart at its spaces and run what stands in it; here each word arrives as it is.

    Parameters
    ----------
    command
        Program and arguments.
    cwd
        Where it runs.
    environment
        Variables beside those of this process.

    Returns
    -------
    CompletedProcess
        With its exit code and all that it said.
    """
    done = subprocess.run(
        command,
        capture_output=True,
        check=False,
        **_setting(cwd, environment),
    )
    for line in (done.stdout + done.stderr).splitlines():
        LOGGER.debug("%s: %s", command[0], line)
    return done


def _setting(cwd: Path, environment: Mapping[str, str] | None) -> dict[str, Any]:
    """Give what every program is started with: no input, text as output, an end with ours."""
    return {
        "cwd": cwd,
        "env": {**os.environ, **(environment or {})},
        "stdin": subprocess.DEVNULL,
        "text": True,
        "errors": "replace",
        "preexec_fn": _tie_to_parent(),
    }


@contextmanager
def _pass_on_termination(child: "subprocess.Popen[str]") -> Iterator[list[int]]:
    """Pass SIGTERM on to a program, which may want to save something, and wait for its end.

    Without it this process would end at once, and the program with it. What is yielded holds the
    signals that came.
    """
    heard: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        child.terminate()

    if threading.current_thread() is not threading.main_thread():
        yield heard  # only the main thread hears signals
        return
    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield heard
    finally:
        signal.signal(signal.SIGTERM, before)


def _last_word(complaints: Sequence[str]) -> str:
    """Give the last line, or what a process of several said before torchrun's account of it."""
    started = next(
        (place for place, line in enumerate(complaints) if _TORCHRUN in line), len(complaints)
    )
    said = [line for line in complaints[:started] if line.strip()] or [*complaints]
    return said[-1] if said else ""


def _describe_kill(name: str) -> str:
    return (
        f"The fit was killed by {name}. Most often memory ran out: give more memory, or a smaller "
        "--shd-preset; the same command goes on from the last checkpoint."
    )


def _tie_to_parent() -> Callable[[], None] | None:
    """Make what has a child killed when its parent dies, so that nothing goes on writing (Linux).

    It runs between fork and exec, where nothing may be imported or loaded.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def tie() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))

    return tie
