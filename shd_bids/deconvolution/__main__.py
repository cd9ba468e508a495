"""Run one fit: ``python -m shd_bids.deconvolution JOB.json``, or the same with ``torchrun``."""

import logging
import sys
from pathlib import Path

import torch

from shd_bids.bids.space import explain_write_error, is_disk_error
from shd_bids.errors import ShdBidsError

from .allocation import keep_freed_memory
from .device import out_of_memory
from .job import Job, run_job
from .parallel import end_process, join_team

_NO_MEMORY = "can't allocate memory"  # of torch's allocator on the CPU


def main() -> int:
    """Fit; a message for the user is the last line on standard error."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    keep_freed_memory()
    try:
        job = Job.from_file(Path(sys.argv[1]))
        with join_team(job.device) as team:
            if not team.is_first:
                logging.getLogger().setLevel(logging.WARNING)
            run_job(job, team)
    except SystemExit as end:  # asked to end, and saved
        return int(end.code or 0)
    except (ShdBidsError, OSError, MemoryError, RuntimeError) as error:
        if (message := _message(error)) is None:
            raise
        sys.stderr.write(f"{message}\n")
        return 1
    return 0


def _message(error: Exception) -> str | None:
    """Give what a user should read; None where the traceback tells us more."""
    if isinstance(error, ShdBidsError):
        return str(error)
    if isinstance(error, OSError) and is_disk_error(error):
        return f"The fit cannot write its results. {explain_write_error(error, Path.cwd())}"
    if isinstance(error, torch.cuda.OutOfMemoryError):
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return str(out_of_memory(device, "the scan as a whole", error))
    if isinstance(error, MemoryError) or _NO_MEMORY in str(error):
        said = " ".join(str(error).split()) or "MemoryError"
        return (
            f"The memory that the fit may use ran out ({said}). Give more memory, a smaller "
            "--shd-preset, or fewer --nprocs; the same command goes on from the last checkpoint."
        )
    return None


if __name__ == "__main__":
    end_process(main())
