"""One network for a study beside one for each of its participants: accuracy and time.

``python -m benchmarks.amortised`` scans phantoms that differ in how the brain lies, in gradient
directions, noise and gain, averages their responses, and fits SHD-TV to each: trained on it alone,
and with the weights of a network that was trained on all but the last. Every fit runs in a process
of its own, from files to files, as in the workflow.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shd_bids.deconvolution.presets import PRESETS
from shd_bids.response.average import average_responses, match_intensity
from shd_bids.response.io import Response, write_response
from shd_bids.testing.scan import Phantom
from shd_bids.testing.score import GroupScore, score_fodf
from shd_bids.testing.truth import read_array

from .accuracy import PROTOCOLS, Shape, make_scan
from .child import Outcome, run_measured
from .mrtrix import write_inputs
from .record import print_table, write_record
from .scan import Scan

_LARGEST_GAIN = 0.3  # of the logarithm


@dataclass(frozen=True)
class Participant:
    """One phantom, its files and its truth."""

    seed: int
    folder: Path
    scan: Scan
    phantom: Phantom


def write_participant(seed: int, folder: Path, options: argparse.Namespace) -> Participant:
    """Scan a phantom with a gain of its own and write what a fit needs."""
    shape: Shape = tuple(options.shape)
    scan, phantom = make_scan(
        options.protocol, options.snr, seed, shape=shape, response="estimated"
    )
    gain = float(np.exp(np.random.default_rng(seed).uniform(-_LARGEST_GAIN, _LARGEST_GAIN)))
    brighter = {
        tissue: Response(tissue, one.bvals, one.coefficients * gain)
        for tissue, one in scan.responses.items()
    }
    scan = replace(scan, dwi=scan.dwi * gain, responses=brighter)
    own = folder / f"seed{seed}"
    own.mkdir(parents=True, exist_ok=True)
    write_inputs(scan, own)
    return Participant(seed, own, scan, phantom)


def measure(folder: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Fit every participant alone, train the study, and fit every participant with its weights."""
    participants = [write_participant(seed, folder, options) for seed in options.seeds]
    study, (stranger,) = participants[:-1], participants[-1:]
    names = [str(one.seed) for one in study]
    averages = {
        tissue: average_responses([one.scan.responses[tissue] for one in study], names).response
        for tissue in study[0].scan.responses
    }
    common = {one.seed: _write_matched(one, averages) for one in participants}
    alone = {}
    for one in participants:
        alone[one.seed] = outcome = _run(_describe(one, common, options), one.folder / "alone")
        yield _row(one, "trained on it", outcome, one.folder / "alone")
    scans = [_describe(one, common, options) for one in study]
    job = scans[0] | {"scans": [{k: scan[k] for k in _FILES} for scan in scans[1:]]}
    if options.study_steps:
        job["n_step"] = options.study_steps
    else:
        job.pop("n_step", None)
    outcome = _run(job, folder / "study")
    yield {"seed": "study", "network": "trained on all", "seconds": outcome.seconds}
    weights = {"weights_file": str(folder / "study/weights.safetensors")}
    for one in participants:
        outcome = _run(_describe(one, common, options) | weights, one.folder / "given")
        network = "the study's" if one is not stranger else "the study's, of which it is no part"
        row = _row(one, network, outcome, one.folder / "given")
        yield row | {"times_as_fast": alone[one.seed].seconds / outcome.seconds}


def _write_matched(one: Participant, averages: dict[str, Response]) -> dict[str, str]:
    """Write the average responses at the intensity of one participant."""
    files = {}
    for tissue, response in match_intensity(averages, one.scan.responses).items():
        files[tissue] = str(one.folder / f"study_{tissue}.txt")
        write_response(response, Path(files[tissue]))
    return files


_FILES = ("dwi_file", "gradients_file", "mask_file", "responses")


def _describe(
    one: Participant, responses: dict[int, dict[str, str]], options: argparse.Namespace
) -> dict[str, Any]:
    job = {
        "dwi_file": str(one.folder / "dwi.nii"),
        "gradients_file": str(one.folder / "gradients.b"),
        "mask_file": str(one.folder / "mask.nii"),
        "responses": responses[one.seed],
        "model": "shd-tv",
        "preset": options.preset,
        "n_threads": options.threads,
        "device": options.device,
    }
    return job | ({"n_step": options.steps} if options.steps else {})


def _run(job: dict[str, Any], out_dir: Path) -> Outcome:
    out_dir.mkdir(exist_ok=True)
    job_file = out_dir / "job.json"
    job_file.write_text(json.dumps(job | {"out_dir": str(out_dir)}))
    command = [sys.executable, "-m", "shd_bids.deconvolution", str(job_file)]
    outcome = run_measured(command, out_dir / "log.txt")
    if outcome.exit_code:
        raise SystemExit(f"The fit in {out_dir} failed: {outcome.last_words}")
    return outcome


def _row(one: Participant, network: str, outcome: Outcome, out_dir: Path) -> dict[str, Any]:
    score = _score(one, out_dir)
    return {
        "seed": str(one.seed),
        "network": network,
        "n_voxel": one.scan.n_voxel,
        "seconds": outcome.seconds,
        "error_deg": score.angular_error_deg,
        "false_positives": score.false_positives,
        "missed": score.false_negatives,
        "success": score.success,
    }


def _score(one: Participant, out_dir: Path) -> GroupScore:
    fodf_sh = read_array(out_dir / "fod_WM.nii.gz")
    return score_fodf(fodf_sh, one.phantom.truth, mask=one.phantom.mask).overall


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.amortised", description=__doc__)
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[1, 2, 3, 4], help="the last is new"
    )
    parser.add_argument("--protocol", choices=list(PROTOCOLS), default="multi-shell")
    parser.add_argument("--snr", type=float, default=20.0)
    parser.add_argument("--shape", nargs=3, type=int, default=(36, 36, 36), metavar="VOXELS")
    parser.add_argument("--preset", choices=list(PRESETS), default="fast")
    parser.add_argument("--steps", type=int, help="of training on one; by default the preset's")
    parser.add_argument("--study-steps", type=int, help="of training on all")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep scans and results here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="record rows, settings, machine")
    options = parser.parse_args(argv)
    if len(options.seeds) < 2:
        parser.error("--seeds needs two at least: some to train on, and the last, which is new.")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the table and write what was asked for."""
    options = parse_arguments(argv)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="amortised-") as scratch:
        folder = (options.work or Path(scratch)).resolve()
        for row in measure(folder, options):
            rows.append(row)
            write_record(options, name="amortised", rows=rows)
            print(f"{row['seed']} {row['network']}: {row['seconds']:.0f} s", flush=True)
    print_table(rows, f"SHD-TV, {options.preset}, {options.protocol}, SNR {options.snr:g}")


if __name__ == "__main__":
    main()
