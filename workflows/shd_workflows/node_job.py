"""One node as a job on another machine: ``python -m shd_workflows.node_job JOB_FILE``.

The job file and the result are pickles, as nipype's own in the work directory: who can write there
can run code, here as there.
"""

import os
import pickle
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

from nipype import config as nipype_config
from nipype.pipeline.plugins.multiproc import run_node

from shd_bids.deconvolution.interruption import EXIT_CODE

from .logs import set_up_logging
from .usage import held_gb, peak_gb

_END_SECONDS = 25.0  # Slurm kills half a minute after it has asked to end


@dataclass(frozen=True)
class NodeJob:
    """A node and where its job finds and leaves things.

    Attributes
    ----------
    node, updatehash
        As nipype runs it.
    workflow_name
        Of the participant, for the log.
    verbosity
        As `set_up_logging` takes it.
    resource_monitor
        Whether to sample what it takes.
    """

    node: Any
    updatehash: bool
    workflow_name: str
    verbosity: int
    resource_monitor: bool


@dataclass(frozen=True)
class JobFiles:
    """The files of one job.

    Attributes
    ----------
    folder
        Of the jobs of one participant.
    stem
        Of this one.
    """

    folder: Path
    stem: str

    @property
    def job(self) -> Path:
        """The node."""
        return self.folder / f"{self.stem}.pkl"

    @property
    def script(self) -> Path:
        """What Slurm runs."""
        return self.folder / f"{self.stem}.sh"

    @property
    def said(self) -> Path:
        """What the job, and Slurm about it, said."""
        return self.folder / f"{self.stem}.out"

    @property
    def log(self) -> Path:
        """What belongs into the participant's log."""
        return self.folder / f"{self.stem}.log"

    @property
    def number(self) -> Path:
        """Slurm's number of it, as long as it is not known to have ended."""
        return self.folder / f"{self.stem}.id"

    @property
    def result(self) -> Path:
        """How it ended, there only when it is whole."""
        return self.folder / f"{self.stem}.result.pkl"


def write_pickle(content: Any, file: Path) -> None:
    """Write an object under its name only when it is whole."""
    half = file.with_name(f".{file.name}.{os.getpid()}")
    with half.open("wb") as target:
        pickle.dump(content, target)
        target.flush()
        os.fsync(target.fileno())
    half.replace(file)


def read_pickle(file: Path) -> Any:
    """Read what `write_pickle` wrote."""
    with file.open("rb") as source:
        return pickle.load(source)


def main(argv: list[str]) -> int:
    """Run the node of a job file and write its result beside it.

    A job that is asked to end leaves no result: Slurm says why, or runs it anew.
    """
    job_file = Path(argv[1])
    files = JobFiles(job_file.parent, job_file.stem)
    started, shared_gb = monotonic(), held_gb()
    asked = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        if not asked.is_set():
            asked.set()
            threading.Thread(target=_end_soon, daemon=True).start()

    signal.signal(signal.SIGTERM, end)
    job: NodeJob = read_pickle(job_file)
    if job.resource_monitor:
        nipype_config.enable_resource_monitor()
    set_up_logging(verbosity=job.verbosity, log_files={job.workflow_name: files.log})
    result = run_node(job.node, job.updatehash, 0)
    if asked.is_set():
        return EXIT_CODE
    write_pickle((result, peak_gb(shared_gb), monotonic() - started), files.result)
    return 0


def _end_soon() -> None:
    """Ask the programs of this job to end, so that a training saves itself, then end."""
    children = _children()
    for child in children:
        try:
            os.kill(child, signal.SIGTERM)
        except ProcessLookupError:
            continue
    end = monotonic() + _END_SECONDS
    wait = threading.Event()
    while _children() and monotonic() < end:
        wait.wait(0.1)
    sys.stdout.flush()
    os._exit(EXIT_CODE)


def _children() -> set[int]:
    """List the processes that this one has started and that run."""
    found: set[int] = set()
    for file in Path("/proc/self/task").glob("*/children"):
        try:
            found |= {int(word) for word in file.read_text().split()}
        except OSError:  # a thread that has ended
            continue
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv))
