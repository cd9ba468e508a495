"""A program run as a child: how long it took and how much memory it held at most."""

import contextlib
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_POLL_S = 0.5


@dataclass(frozen=True)
class Outcome:
    """What became of a child process."""

    exit_code: int
    seconds: float
    peak_memory_mib: float
    last_words: str  # of its standard error


def run_measured(command: Sequence[str], log_file: Path) -> Outcome:
    """Run a program to its end and measure it together with the processes that it starts.

    Memory is read twice a second: the peak is the larger of the sum over all processes, with
    shared pages counted once, and the kernel's own count of the peak of one. (What ``wait4`` says
    would hold the size of this process, from before the program was started.)

    Parameters
    ----------
    command
        Program and arguments.
    log_file
        Takes what it prints.
    """
    start = time.perf_counter()
    peak_kib = 0
    with log_file.open("w") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        while child.poll() is None:
            peak_kib = max(peak_kib, _session_memory_kib(child.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_POLL_S)
    return Outcome(
        exit_code=child.returncode,
        seconds=time.perf_counter() - start,
        peak_memory_mib=peak_kib / 1024,
        last_words=log_file.read_text(errors="replace").strip()[-500:],
    )


def _session_memory_kib(session: int) -> int:
    """Add up the proportional resident sets of a session's processes; at least the largest peak."""
    folders = [folder for folder in _PROC.glob("[0-9]*") if _session_of(folder) == session]
    shared_out = sum(_read_kib(folder / "smaps_rollup", "Pss:") for folder in folders)
    return max(shared_out, *(_read_kib(folder / "status", "VmHWM:") for folder in folders), 0)


def _session_of(folder: Path) -> int | None:
    try:
        after_name = (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended meanwhile
        return None
    return int(after_name[3])


def _read_kib(file: Path, field: str) -> int:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(field)), 0)
