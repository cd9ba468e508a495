"""A whole brain: training and prediction time, speed and memory of each preset and its peers.

``python -m benchmarks.whole_brain BIDS_DIR`` (or ``DWI BVAL BVEC [MASK]``). Mask and responses are
made once and shared. Every case runs in a process of its own, from files to files, as in the
workflow; its time holds start, reading and writing, for all cases alike.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shd_bids.deconvolution.presets import PRESETS, get_preset

from .child import Outcome, run_measured
from .mrtrix import dwi2fod_command, mrtrix_is_installed, write_inputs
from .record import add_output_arguments, print_table, write_record
from .scan import Scan, load_scan

_MRTRIX = {"mrtrix-csd": "csd", "mrtrix-msmt-csd": "msmt_csd"}
PEERS = (*_MRTRIX, "csd", "msmt-csd", "rumba", "rumba-tv")


def measure(scan: Scan, folder: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Run the peers, then the presets, and give a row for each."""
    write_inputs(scan, folder)
    for peer in options.peers:
        yield measure_peer(scan, peer, folder, options)
    for preset in options.presets:
        yield measure_preset(scan, preset, folder, options)


def measure_peer(
    scan: Scan, peer: str, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Measure a deconvolution that learns nothing."""
    if peer in _MRTRIX:
        command = dwi2fod_command(scan, _MRTRIX[peer], folder, n_threads=options.threads)
    else:
        command = _job_command(scan, folder, peer, {"model": peer}, options)
    outcome = run_measured(command, folder / f"{peer}.log")
    row: dict[str, Any] = {"model": peer, "n_voxel": scan.n_voxel}
    if outcome.exit_code:
        return row | {"failed": outcome.last_words}
    return row | _speed(scan, outcome.seconds) | _memory(outcome)


def measure_preset(
    scan: Scan, preset: str, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Measure training and prediction of SHD-TV; a training cut short is extrapolated."""
    planned = options.steps or get_preset(preset).steps
    measured = min(options.extrapolate_from or planned, planned)
    settings = {
        "model": "shd-tv",
        "preset": preset,
        "n_step": measured,
        "device": options.device,
        "precision": options.precision,
    }
    name = f"shd-tv-{preset}"
    command = _job_command(scan, folder, name, settings, options)
    outcome = run_measured(command, folder / f"{name}.log")
    row: dict[str, Any] = {"model": "shd-tv", "preset": preset, "n_voxel": scan.n_voxel}
    row |= {"n_step": planned, "n_step_measured": measured}
    if outcome.exit_code:
        return row | {"failed": outcome.last_words}
    out_dir = folder / name
    summary = json.loads((out_dir / "summary.json").read_text())
    training_s = summary["training_seconds"]
    if measured < planned:
        history = json.loads((out_dir / "history.json").read_text())
        training_s = extrapolate(history["step"], history["seconds"], planned)
    total_s = outcome.seconds - summary["training_seconds"] + training_s
    card = json.loads((out_dir / "card.json").read_text())["cuda_memory_mib"]
    return (
        row
        | {
            "training_s": training_s,
            "extrapolated": measured < planned,
            "prediction_s": summary["prediction_seconds"],
            "predicted_voxels_per_s": scan.n_voxel / summary["prediction_seconds"],
            "device": summary["device"],
            "precision": summary["precision"],
        }
        | _speed(scan, total_s)
        | _memory(outcome)
        | {"cuda_memory_mib": card}
    )


def extrapolate(steps: Sequence[int], seconds: Sequence[float], n_step: int) -> float:
    """Give the time of a longer training from the course of its start.

    The rate is that after the first record, so that warming up counts once.

    Examples
    --------
    >>> extrapolate([10, 20], [7.0, 9.0], 100)
    25.0
    """
    if len(steps) < 2:
        return seconds[-1] / steps[-1] * n_step
    rate = (seconds[-1] - seconds[0]) / (steps[-1] - steps[0])
    return seconds[0] + rate * (n_step - steps[0])


def compare(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add how many times as long as MRtrix3 and DIPY each case took."""
    total = {row["model"]: row["total_s"] for row in rows if "total_s" in row}
    rivals = [peer for peer in ("mrtrix-csd", "mrtrix-msmt-csd", "csd") if peer in total]
    return [
        row
        | {
            f"x {rival}": row["total_s"] / total[rival]
            for rival in rivals
            if "total_s" in row and row["model"] != rival
        }
        for row in rows
    ]


def _job_command(
    scan: Scan, folder: Path, name: str, settings: dict[str, Any], options: argparse.Namespace
) -> list[str]:
    job = {
        "dwi_file": str(folder / "dwi.nii"),
        "mask_file": str(folder / "mask.nii"),
        "gradients_file": str(folder / "gradients.b"),
        "responses": {tissue: str(folder / f"{tissue}.txt") for tissue in scan.responses},
        "out_dir": str(folder / name),
        "n_threads": options.threads,
        **settings,
    }
    job_file = folder / f"{name}.json"
    job_file.write_text(json.dumps(job))
    return [sys.executable, "-m", "benchmarks.fit_job", str(job_file)]


def _speed(scan: Scan, total_s: float) -> dict[str, float]:
    return {"total_s": total_s, "voxels_per_s": scan.n_voxel / total_s}


def _memory(outcome: Outcome) -> dict[str, float]:
    return {"peak_memory_mib": outcome.peak_memory_mib}


def _name(row: dict[str, Any]) -> str:
    return " ".join(row[key] for key in ("model", "preset") if key in row)


def draw_whole_brain(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Draw time, training apart, and peak memory as bars."""
    rows = [row for row in rows if "total_s" in row]
    names = [_name(row) + (" *" if row.get("extrapolated") else "") for row in rows]
    training_s = [row.get("training_s", 0.0) for row in rows]
    rest_s = [row["total_s"] - spent for row, spent in zip(rows, training_s, strict=True)]
    figure = Figure(figsize=(9.0, 1.2 + 0.4 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    times, memory = figure.subplots(1, 2, sharey=True)
    times.barh(names, training_s, label="training (* extrapolated)")
    times.barh(names, rest_s, left=training_s, label="all else")
    times.set_xlabel("Seconds")
    times.invert_yaxis()
    times.legend(frameon=False)
    memory.barh(names, [row["peak_memory_mib"] / 1024 for row in rows], color="C2")
    memory.set_xlabel("Peak memory, GiB")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.whole_brain", description=__doc__)
    parser.add_argument("scan", nargs="+", type=Path, help="BIDS_DIR, or DWI BVAL BVEC [MASK]")
    parser.add_argument("--presets", nargs="*", choices=list(PRESETS), default=list(PRESETS))
    peers = [peer for peer in PEERS[:3] if peer not in _MRTRIX or mrtrix_is_installed()]
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=peers)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto", help="of SHD-TV")
    parser.add_argument("--precision", default="auto", help="of SHD-TV")
    parser.add_argument("--steps", type=int, help="of training; by default the preset's")
    parser.add_argument(
        "--extrapolate-from", type=int, metavar="N", help="train N steps only; the row says so"
    )
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep scan and results here")
    add_output_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the table and write what was asked for."""
    options = parse_arguments(argv)
    scan = load_scan(options.scan)
    print(f"{scan.n_voxel} voxels; {scan.shells.describe()}; {', '.join(scan.responses)}")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="whole-brain-") as scratch:
        folder = (options.work or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for row in measure(scan, folder, options):
            rows.append(row)
            write_record(options, name="whole_brain", rows=compare(rows))
            done = row.get("failed") or f"{row['total_s']:.0f} s"
            print(f"{_name(row)}: {done}", flush=True)
    threads = f"{options.threads} thread{'s' if options.threads > 1 else ''}"
    print_table(compare(rows), f"Whole brain of {scan.n_voxel} voxels, {threads}")
    if options.figure is not None:
        draw_whole_brain(rows, options.figure)


if __name__ == "__main__":
    main()
