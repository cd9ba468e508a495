"""Run a fit as the workflow does, and note the memory that it took on a card.

``python -m benchmarks.fit_job JOB.json``; its process is measured from outside.
"""

import json
import logging
import sys
from pathlib import Path

import torch

from shd_bids.deconvolution.allocation import keep_freed_memory
from shd_bids.deconvolution.job import Job, run_job


def main(argv: list[str]) -> None:
    """Run the job, then write ``card.json`` beside what the fit has written."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keep_freed_memory()
    job = Job.from_file(Path(argv[0]))
    run_job(job)
    peak = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
    (job.out_dir / "card.json").write_text(json.dumps({"cuda_memory_mib": peak}))


if __name__ == "__main__":
    main(sys.argv[1:])
