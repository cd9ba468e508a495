"""One node as a job on another machine: ``python -m shd_workflows.node_job JOB_FILE``.

The job file and the result are pickles, as nipype's own in the work directory: who can write there
can run code, here as there.
"""

import os
import pickle
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from nipype import config as nipype_config

from shd_bids.deconvolution.interruption import EXIT_CODE

from .logs import set_up_logging
from .task import remove_samples, run_sealed
from .usage import held_gb, peak_gb


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

    A job that is asked to end leaves no result: Slurm says why, or runs it anew. Most steps end at
    once with the signal; a training hears it, and saves itself.
    """
    job_file = Path(argv[1]).absolute()
    files = JobFiles(job_file.parent, job_file.stem)
    started, shared_gb = monotonic(), held_gb()
    signals = _note_signals()
    job: NodeJob = read_pickle(job_file)
    if job.resource_monitor:
        os.chdir(job_file.parent)  # where nipype keeps its samples meanwhile
        nipype_config.enable_resource_monitor()
    set_up_logging(verbosity=job.verbosity, log_files={job.workflow_name: files.log})
    result = run_sealed(job.node, job.updatehash, 0)
    if job.resource_monitor:
        remove_samples(job_file.parent)
    if result["traceback"] and signal.SIGTERM in _noted(signals):
        return EXIT_CODE
    write_pickle((result, peak_gb(shared_gb), monotonic() - started), files.result)
    return 0


def _note_signals() -> int:
    """Have the system note the signals that are heard, whoever hears them; give what to read."""
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def _noted(reader: int) -> bytes:
    try:
        return os.read(reader, 1024)
    except BlockingIOError:
        return b""


if __name__ == "__main__":
    sys.exit(main(sys.argv))
