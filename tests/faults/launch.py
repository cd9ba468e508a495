"""The program started as a user starts it, watched, hurt, and brought to its end."""

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE_S = 600.0  # for what must come; the machine of the tests may be busy
_MARK = "SHD_BIDS_TEST_MARK"


@dataclass
class Run:
    """A run of the program.

    Attributes
    ----------
    process
        Of the program.
    lines
        What it has said until now, on both streams.
    seconds
        Wall time; None as long as it runs.
    """

    process: subprocess.Popen[str]
    mark: str
    lines: list[str] = field(default_factory=list)
    seconds: float | None = None
    _started: float = field(default_factory=time.monotonic)
    _news: "queue.Queue[str | None]" = field(default_factory=queue.Queue)
    _listener: threading.Thread | None = None

    @property
    def code(self) -> int | None:
        """Exit code; negative where a signal ended it."""
        return self.process.returncode

    @property
    def text(self) -> str:
        """All that was said."""
        return "\n".join(self.lines)

    @property
    def last_line(self) -> str:
        """What a user reads last."""
        return next((line for line in reversed(self.lines) if line.strip()), "")


def start(
    *arguments: object,
    environment: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    **options: Any,
) -> Run:
    """Start ``shd-bids`` with arguments, its threads limited to one.

    Parameters
    ----------
    arguments
        Of the command line.
    environment
        Variables beside those of this process.
    prefix
        Program that starts it, such as ``nohup``.
    options
        Of `subprocess.Popen`.
    """
    command = [*prefix, sys.executable, "-m", "shd_bids.cli.run", *map(str, arguments)]
    return start_command(command, environment=environment, **options)


def start_command(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, **options: Any
) -> Run:
    """Start any program in the same way."""
    mark = uuid.uuid4().hex
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONUNBUFFERED": "1",
        _MARK: mark,
        **(environment or {}),
    }
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | options
    options = {"preexec_fn": _hear_all_signals} | options
    process = subprocess.Popen(
        list(command), env=env, stdin=subprocess.DEVNULL, text=True, errors="replace", **options
    )
    run = Run(process, mark)
    if process.stdout is not None:
        run._listener = threading.Thread(target=_listen, args=(run,), daemon=True)
        run._listener.start()
    return run


def _hear_all_signals() -> None:
    """Undo what a shell does to programs behind ``&``, should the tests be one: they pass it on."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _listen(run: Run) -> None:
    stream = run.process.stdout
    assert stream is not None
    with contextlib.suppress(ValueError):  # closed by a test
        for line in stream:
            run.lines.append(line.rstrip("\n"))
            run._news.put(run.lines[-1])
    run._news.put(None)


def wait_for_line(run: Run, pattern: str, timeout_s: float = PATIENCE_S) -> str:
    """Wait until the run says something that was not asked for before."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            line = run._news.get(timeout=max(end - time.monotonic(), 0.0))
        except queue.Empty:
            raise AssertionError(f"never said {pattern!r}:\n{run.text}") from None
        assert line is not None, f"ended without {pattern!r}:\n{run.text}"
        if re.search(pattern, line):
            return line


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """Wait for an event that nothing tells of, and give what the condition gave."""
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)
    return found


def finish(run: Run, timeout_s: float = PATIENCE_S) -> Run:
    """Wait for the end of a run; one that hangs is killed, with all its processes, and fails."""
    try:
        run.process.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        kill_all(run)
        raise AssertionError(f"does not end:\n{run.text}") from None
    run.seconds = time.monotonic() - run._started
    if run._listener is not None:
        run._listener.join(timeout=60)
    return run


def kill(run: Run, number: int = signal.SIGKILL) -> None:
    """Send a signal to the program's own process only."""
    run.process.send_signal(number)


def kill_all(run: Run) -> None:
    """End everything that a run has started."""
    for pid in processes_of(run):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def processes_of(run: Run) -> dict[int, str]:
    """Give name and command line of every process of a run, by its id, whoever its parent is."""
    mark, found = f"{_MARK}={run.mark}".encode(), {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is not ours
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(folder.name)] = f"{(folder / 'comm').read_text().strip()}: {words}"
    return found


def assert_nothing_runs(run: Run, timeout_s: float = 60.0) -> None:
    """Make sure that no process of a run is left, orphan or zombie.

    What ends with its parent may take a moment.
    """
    end = time.monotonic() + timeout_s
    while left := processes_of(run):
        assert time.monotonic() < end, left
        time.sleep(0.05)
    assert list(zombies()) == []


def zombies() -> Iterator[str]:
    """List the children of this process that have ended and that nobody has asked for."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            if state == "Z" and int(parent) == os.getpid():
                yield folder.name
