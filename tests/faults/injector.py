"""Kills the processes of a run's nodes from outside, as the system does when memory runs out."""

import contextlib
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from faults.launch import PATIENCE_S, Run

_FIT = "-m shd_bids.deconvolution"
#: Processes that are no node's: the run, and those that Python starts beside it.
_OTHERS = re.compile(r"shd_bids\.cli\.run|multiprocessing\.(resource_tracker|spawn)")


@dataclass
class Killer:
    """Kills each node once, at some moment of its work, over as many runs as it takes.

    Attributes
    ----------
    work_dir
        Of the runs; a node's process works in its own folder there.
    chance
        Of the moment.
    wanted
        Pattern of what to kill, as it is named in ``killed``.
    killed
        What was killed: the path of a node's folder, and for a fit's own program ``PATH fit``.
    """

    work_dir: Path
    chance: random.Random
    wanted: str = ""
    killed: set[str] = field(default_factory=set)

    def watch(self, run: Run) -> set[str]:
        """Kill until the run ends; give what was killed in this one."""
        before = set(self.killed)
        end = time.monotonic() + PATIENCE_S
        while run.process.poll() is None and time.monotonic() < end:
            for pid in list(_descendants(run.process.pid)):
                key = self._key(pid)
                if key is None or key in self.killed:
                    continue
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.killed.add(key)
            time.sleep(self.chance.uniform(0.001, 0.02))  # some nodes work for a moment only
        return self.killed - before

    def _key(self, pid: int) -> str | None:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            folder = Path(f"/proc/{pid}/cwd").readlink().relative_to(self.work_dir / "shd_bids_wf")
        except (OSError, ValueError):  # it has ended, or has not begun with its node
            return None
        if _OTHERS.search(words) and _FIT not in words:
            return None
        key = f"{folder.as_posix()} fit" if _FIT in words else folder.as_posix()
        return key if re.search(self.wanted, key) else None


def _descendants(pid: int) -> Iterator[int]:
    """List the processes that one has started, and those that these have."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has ended
        return
    for child in map(int, children):
        yield child
        yield from _descendants(child)
