"""The report of a study of any size: seconds, memory and size of the page.

``python -m benchmarks.study --participants 1 10 1000`` writes simulated studies, whose participants
have the files of a whole run with tiny images, and reports on each in a process of its own.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from shd_bids.testing.study import ACQUISITIONS, write_study

from .child import run_measured
from .record import add_output_arguments, print_table, write_record


def measure_report(n_participant: int, acquisitions: Sequence[str], folder: Path) -> dict[str, Any]:
    """Write a study and report on it.

    Parameters
    ----------
    n_participant
        How many.
    acquisitions
        Series of each.
    folder
        Gets the study.

    Returns
    -------
    dict[str, Any]
        A row of the table; ``total_s`` holds the start of the program.
    """
    start = time.perf_counter()
    output_dir = write_study(folder, n_participant, acquisitions=acquisitions)
    row: dict[str, Any] = {
        "participants": n_participant,
        "files": sum(1 for file in output_dir.rglob("*") if file.is_file()),
        "write_s": time.perf_counter() - start,
    }
    record_file = folder / "report.json"
    command = [sys.executable, "-m", "benchmarks.study_report"]
    outcome = run_measured(
        [*command, str(folder / "bids"), str(output_dir), str(record_file)], folder / "report.log"
    )
    if outcome.exit_code:
        return row | {"failed": outcome.last_words}
    return row | {"total_s": outcome.seconds} | json.loads(record_file.read_text())


def draw_study(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Draw time and memory over the number of participants."""
    done = [row for row in rows if "total_s" in row]
    figure = Figure(figsize=(8.0, 3.2), layout="constrained")
    names = {"total_s": "seconds", "peak_memory_mib": "peak memory, MiB"}
    for axes, (key, label) in zip(figure.subplots(1, 2), names.items(), strict=True):
        axes.plot([row["participants"] for row in done], [row[key] for row in done], marker="o")
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("participants")
        axes.set_ylabel(label)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__)
    parser.add_argument("--participants", type=int, nargs="+", default=[1, 10, 1000])
    parser.add_argument("--acquisitions", nargs="+", choices=list(ACQUISITIONS), default=["multi"])
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep the studies here")
    add_output_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Measure, print the table and write what was asked for."""
    options = parse_arguments(argv)
    rows = []
    with tempfile.TemporaryDirectory(prefix="study-") as scratch:
        for count in options.participants:
            folder = (options.work or Path(scratch)).resolve() / str(count)
            folder.mkdir(parents=True, exist_ok=True)
            rows.append(measure_report(count, options.acquisitions, folder))
    print_table(rows, "Report of a simulated study")
    write_record(options, name="study", rows=rows)
    if options.figure is not None:
        draw_study(rows, options.figure)
    return rows


if __name__ == "__main__":
    main()
