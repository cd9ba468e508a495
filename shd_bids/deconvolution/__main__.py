"""Run one fit: ``python -m shd_bids.deconvolution JOB.json``, or the same with ``torchrun``."""

import logging
import sys
from pathlib import Path

from shd_bids.errors import ShdBidsError

from .allocation import keep_freed_memory
from .job import Job, run_job
from .parallel import end_process, join_team


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
    except ShdBidsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    end_process(main())
