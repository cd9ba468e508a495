"""Run one fit: ``python -m shd_bids.deconvolution JOB.json``."""

import logging
import sys
from pathlib import Path

from shd_bids.errors import ShdBidsError

from .job import Job, run_job


def main() -> int:
    """Fit; a message for the user is the last line on standard error."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        run_job(Job.from_file(Path(sys.argv[1])))
    except ShdBidsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
