"""What every benchmark shares: its output options, its table, and its record of where it ran."""

import argparse
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from shd_bids.bids.files import write_json

_PACKAGES = ("torch", "dipy", "numpy", "scipy")


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` and ``--figure``, which are ``Path`` or None."""
    group = parser.add_argument_group("output, beside the table")
    group.add_argument("--json", type=Path, metavar="FILE", help="record rows, settings, machine")
    group.add_argument("--figure", type=Path, metavar="FILE", help="draw them (.png, .svg, .pdf)")


def describe_machine() -> dict[str, Any]:
    """Say where and with what a benchmark runs.

    Returns
    -------
    machine
        ``cpu``, ``n_core`` (that this process may use), ``n_thread`` (of torch), ``memory_gib``,
        ``platform``, ``cuda_device`` (None without one), and ``versions`` of python, packages and
        MRtrix3 (None where absent).
    """
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    versions["mrtrix"] = _mrtrix_version()
    has_cuda = torch.cuda.is_available()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_name(),
        "n_core": len(os.sched_getaffinity(0)),
        "n_thread": torch.get_num_threads(),
        "memory_gib": round(memory / 2**30, 1),
        "platform": platform.platform(),
        "cuda_device": torch.cuda.get_device_name() if has_cuda else None,
        "versions": versions,
    }


def print_table(rows: Sequence[Mapping[str, object]], title: str) -> None:
    """Print rows under their column names, columns in the order in which they first appear.

    Parameters
    ----------
    rows
        Numbers are printed with four figures, None and missing values as a dash.
    title
        Line above the table.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [columns] + [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    numeric = [any(isinstance(row.get(column), int | float) for row in rows) for column in columns]
    print(f"\n{title}")
    for line in cells:
        padded = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        )
        print("  ".join(padded).rstrip())
    sys.stdout.flush()


def write_record(
    options: argparse.Namespace, *, name: str, rows: Sequence[Mapping[str, object]]
) -> None:
    """Write what was measured, how and where, if ``--json`` says to what file.

    Parameters
    ----------
    options
        What was asked for; paths are written as text. The file of ``json`` appears complete.
    name
        Of the benchmark.
    rows
        The rows of its table; NaN is refused, None is the way to say that there is no value.
    """
    if options.json is None:
        return
    record = {
        "benchmark": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
        "machine": describe_machine(),
        "settings": _plain(vars(options)),
        "rows": [{key: _plain(value) for key, value in row.items()} for row in rows],
    }
    write_json(options.json, record)


def _plain(value: object) -> object:
    """Give what JSON can hold: paths as text, numpy and torch scalars as numbers."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    item = getattr(value, "item", None)
    return item() if callable(item) else value


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _mrtrix_version() -> str | None:
    if shutil.which("mrinfo") is None:
        return None
    answer = subprocess.run(["mrinfo", "--version"], capture_output=True, text=True, check=False)
    words = answer.stdout.split()  # "== mrinfo 3.0.4 == ..."
    return words[2] if len(words) > 2 else None
