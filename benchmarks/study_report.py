"""Write the report of a study, and note how long each part took and the memory it needed.

``python -m benchmarks.study_report BIDS_DIR OUT_DIR RECORD.json``, in a process of its own.
"""

import json
import resource
import sys
import time
from pathlib import Path

from shd_bids.bids.study import read_study
from shd_bids.reports.study.measures import gather_measures
from shd_bids.reports.study.page import write_study_report


def main(argv: list[str]) -> None:
    """Do it once, and the measures once more, to tell their share."""
    bids_dir, output_dir, record_file = map(Path, argv)
    start = time.perf_counter()
    study = read_study(output_dir, [folder.name for folder in bids_dir.glob("sub-*")])
    read = time.perf_counter()
    rows = gather_measures(study)
    gathered = time.perf_counter()
    page_file = write_study_report(output_dir, study)
    record = {
        "series": len(rows),
        "list_s": read - start,
        "measure_s": gathered - read,
        "report_s": time.perf_counter() - gathered,  # measures again, tables and page
        "page_mb": page_file.stat().st_size / 1e6,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    record_file.write_text(json.dumps(record))


if __name__ == "__main__":
    main(sys.argv[1:])
