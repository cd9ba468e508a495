"""What a run takes of the machine against what it was given, and each step against its declaration.

``python -m benchmarks.resources --nprocs 2 --mem 16 --participants 3 [-- FLAGS OF SHD-BIDS]`` runs
phantoms and looks four times a second at all processes together. ``--work-dir DIR`` runs nothing:
it lists the steps of a work directory whose memory differs from what they declare.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from shd_workflows.workdir import recall_steps

from shd_bids.testing.phantom import make_phantom, write_phantom_bids

from .record import add_output_arguments, print_table, write_record

_POLL_S = 0.25
_SHELLS = {0: 4, 1000: 20, 2500: 40}


@dataclass
class Taken:
    """The most that a program and all its processes took.

    Attributes
    ----------
    memory_gb
        Proportional set sizes added up: pages that processes share count once.
    cores
        Processor time over wall time, over two seconds.
    processes
        At once.
    what
        Command lines and GB of the processes when memory was highest.
    """

    seconds: float = 0.0
    memory_gb: float = 0.0
    cores: float = 0.0
    processes: int = 0
    what: list[str] = field(default_factory=list)
    exit_code: int = 0


def watch(command: Sequence[str], log_file: Path) -> Taken:
    """Run a program to its end and look at it and its descendants."""
    taken, start, recent = Taken(), time.monotonic(), [(time.monotonic(), 0.0)]
    spent: dict[int, float] = {}
    with log_file.open("w") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log)
        while child.poll() is None:
            _look(psutil.Process(child.pid), taken, spent)
            recent.append((time.monotonic(), sum(spent.values())))
            while recent[-1][0] - recent[0][0] > 8 * _POLL_S:
                recent.pop(0)
            if len(recent) > 4:
                (before, used_before), (now, used) = recent[0], recent[-1]
                taken.cores = max(taken.cores, (used - used_before) / (now - before))
            time.sleep(_POLL_S)
    taken.seconds, taken.exit_code = time.monotonic() - start, child.returncode
    return taken


def _look(program: psutil.Process, taken: Taken, spent: dict[int, float]) -> None:
    """Add up what the processes take now; ``spent`` keeps the processor time of each by its id."""
    sizes: dict[str, float] = {}
    try:
        processes = [program, *program.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in processes:
        try:
            gb = process.memory_full_info().pss / 1e9
            used = process.cpu_times()
            name = " ".join(process.cmdline()[:4])[-60:]
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has ended meanwhile
            continue
        spent[process.pid] = used.user + used.system
        sizes[f"{process.pid} {name}"] = gb
    taken.processes = max(taken.processes, len(sizes))
    if sum(sizes.values()) > taken.memory_gb:
        taken.memory_gb = sum(sizes.values())
        taken.what = [f"{gb:.2f} GB {name}" for name, gb in sizes.items()]


def write_dataset(bids_dir: Path, n_participant: int, shape: tuple[int, int, int]) -> None:
    """Write a phantom for each participant."""
    phantom = make_phantom(shape, 130.0 / max(shape), shells=_SHELLS, snr=20.0)
    write_phantom_bids(phantom, bids_dir)
    for number in range(2, n_participant + 1):
        for file in sorted((bids_dir / "sub-01").rglob("sub-01*")):
            name = str(file.relative_to(bids_dir)).replace("sub-01", f"sub-{number:02d}")
            (bids_dir / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(file, bids_dir / name)
    lines = [f"sub-{number:02d}\tn/a\tn/a" for number in range(1, n_participant + 1)]
    (bids_dir / "participants.tsv").write_text("\n".join(["participant_id\tsex\tage", *lines, ""]))


def step_rows(work_dir: Path) -> list[dict[str, Any]]:
    """List the steps of a work directory by what they took, the largest first."""
    uses = recall_steps(work_dir)
    rows = [
        {
            "step": ".".join(name.split(".")[2:]),
            "seconds": use.seconds,
            "peak_gb": use.peak_gb,
            "declared_gb": use.mem_gb,
            "over": use.is_over,
        }
        for name, use in uses.items()
        if use.peak_gb is not None and use.mem_gb is not None
    ]
    return sorted(rows, key=lambda row: -row["peak_gb"])


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the participants and compare what was taken with what was given."""
    write_dataset(folder / "bids", options.participants, tuple(options.shape))
    command = [sys.executable, "-m", "shd_bids.cli.run", folder / "bids", folder / "out"]
    command += ["participant", "-w", folder / "work", "--nprocs", options.nprocs]
    command += ["--mem", options.mem, "--omp-nthreads", options.omp_nthreads, *options.flags]
    log_file = folder / "log.txt"
    taken = watch([str(word) for word in command], log_file)
    print(log_file.read_text().strip().splitlines()[-1])
    print("\n".join(["When memory was highest:", *taken.what]))
    return {
        "participants": options.participants,
        "nprocs": options.nprocs,
        "cores": taken.cores,
        "mem": options.mem,
        "memory_gb": taken.memory_gb,
        "processes": taken.processes,
        "seconds": taken.seconds,
        "exit_code": taken.exit_code,
        "within": taken.memory_gb <= options.mem and taken.cores <= options.nprocs + 0.2,
    }


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resources", description=__doc__)
    parser.add_argument("--nprocs", type=int, default=2)
    parser.add_argument("--omp-nthreads", type=int, default=1)
    parser.add_argument("--mem", type=float, default=16.0, metavar="GB")
    parser.add_argument("--participants", type=int, default=3, metavar="N")
    parser.add_argument("--shape", type=int, nargs=3, default=(24, 24, 20), metavar="VOXELS")
    parser.add_argument("--work-dir", type=Path, help="list the steps that ran here; run nothing")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="input and results stay here")
    parser.add_argument("flags", nargs="*", help="of shd-bids, behind --")
    add_output_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print the tables."""
    options = parse_arguments(argv)
    if options.work_dir is None:
        with tempfile.TemporaryDirectory(prefix="resources-") as scratch:
            folder = (options.keep or Path(scratch)).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            rows = [measure(options, folder)]
            print_table(rows, "Taken of what was given")
            steps = step_rows(folder / "work")
    else:
        rows = steps = step_rows(options.work_dir)
    write_record(options, name="resources", rows=rows)
    print_table(list(itertools.islice(steps, 25)), "Largest steps")


if __name__ == "__main__":
    main()
