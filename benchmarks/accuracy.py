"""How well fibres are found in phantoms with known truth, by every model alike.

``python -m benchmarks.accuracy --json FILE`` fits each model to the same noisy scans with the same
mask and responses, extracts peaks in one way, and scores them by number of fibres, crossing angle,
bending and partial volume. With ``--resume`` what the JSON already holds is not fitted again.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from threadpoolctl import threadpool_limits

from shd_bids.deconvolution.solution import FodfSolution
from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.shells import cluster_shells
from shd_bids.errors import ShdBidsError
from shd_bids.response.estimate import estimate_responses, tissues_for_protocol
from shd_bids.response.io import Response
from shd_bids.testing.geometry import BENT_BUNDLES
from shd_bids.testing.scan import Phantom, make_phantom
from shd_bids.testing.scheme import (
    LOW_ANGULAR,
    LOW_ANGULAR_MULTI_SHELL,
    MULTI_SHELL,
    SINGLE_SHELL,
)
from shd_bids.testing.score import describe_score, score_fodf

from .accuracy_tables import draw_accuracy, print_accuracy
from .models import MODELS, SHD_MODELS, FitOptions, default_models
from .record import add_output_arguments, write_record
from .scan import Scan

PROTOCOLS = {
    "multi-shell": MULTI_SHELL,
    "single-shell": SINGLE_SHELL,
    "low-angular": LOW_ANGULAR,
    "low-angular-multi": LOW_ANGULAR_MULTI_SHELL,
}
THRESHOLDS = (0.1, 0.2)  # of a voxel's largest peak
_FIELD_OF_VIEW_MM = 72.0
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Cell:
    """One fit: what identifies a row."""

    protocol: str
    snr: float
    seed: int
    model: str


def make_scan(
    protocol: str, snr: float, seed: int, *, shape: Shape, response: str
) -> tuple[Scan, Phantom]:
    """Scan a phantom and give what a user would deconvolve it with.

    Parameters
    ----------
    protocol
        Of :data:`PROTOCOLS`.
    snr
        Of white matter at b=0.
    seed
        Of noise, gradient directions and the turn of the brain.
    shape
        Voxels; the grid spans 72 mm along its shortest axis.
    response
        ``estimated`` from the noisy data or ``true``.
    """
    phantom = make_phantom(
        shape,
        _FIELD_OF_VIEW_MM / min(shape),
        shells=PROTOCOLS[protocol],
        snr=snr,
        seed=seed,
        bundles=BENT_BUNDLES,
        anatomy_seed=seed,
    )
    gradients = GradientTable(phantom.bvals, phantom.bvecs_ras)
    shells = cluster_shells(phantom.bvals)
    if response == "true":
        tissues, _ = tissues_for_protocol(shells)
        responses = {
            tissue: Response(tissue, shells.bvals, phantom.responses[tissue]) for tissue in tissues
        }
    else:
        estimate = estimate_responses(phantom.dwi, gradients, shells, phantom.mask)
        responses = estimate.responses
    scan = Scan(phantom.dwi, gradients, shells, phantom.mask, responses, phantom.affine)
    return scan, phantom


def fit_cell(cell: Cell, scan: Scan, phantom: Phantom, options: FitOptions) -> dict[str, Any]:
    """Fit and score one model; a model that fails leaves its message.

    Returns
    -------
    row
        Keys of the cell, ``seconds`` of the fit, and the score for each peak threshold.
    """
    row: dict[str, Any] = {**asdict(cell), "n_voxel": scan.n_voxel}
    start = time.perf_counter()
    try:
        with threadpool_limits(options.n_threads):
            solution = MODELS[cell.model](scan, options)
    except ShdBidsError as error:
        return row | {"error": str(error)}
    row["seconds"] = time.perf_counter() - start
    row["scores"] = _score(solution, phantom)
    if options.work_dir is not None:
        stem = f"{cell.protocol}_snr-{cell.snr:g}_seed-{cell.seed}_{cell.model}"
        for tissue, image in {"WM": solution.fodf_sh, **solution.tissue}.items():
            file = options.work_dir / f"{stem}_{tissue}.nii.gz"
            nib.save(nib.Nifti1Image(image.astype(np.float32), scan.affine), file)
    return row


def _score(solution: FodfSolution, phantom: Phantom) -> dict[str, Any]:
    fractions = solution.fractions if solution.tissue else {}
    return {
        f"{threshold:g}": describe_score(
            score_fodf(
                solution.fodf_sh,
                phantom.truth,
                mask=phantom.mask,
                fractions=fractions,
                relative_threshold=threshold,
            )
        )
        for threshold in THRESHOLDS
    }


def cell_settings(model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Give what a row depends on beside its cell; another value makes it another row."""
    settings = {"shape": list(options.shape), "response": options.response}
    if model in SHD_MODELS:
        settings |= {"preset": options.preset, "steps": options.steps, "device": options.device}
    return settings


def measure(
    options: argparse.Namespace, rows: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Fit cell after cell, leaving out those that have a row, and give the row of each."""
    done = {_identity(row) for row in rows}
    shape: Shape = tuple(options.shape)
    for seed, protocol, snr in product(options.seeds, options.protocols, options.snr):
        cells = [Cell(protocol, snr, seed, model) for model in options.models]
        wanted = [(cell, {"settings": cell_settings(cell.model, options)}) for cell in cells]
        missing = [(c, extra) for c, extra in wanted if _identity(asdict(c) | extra) not in done]
        if not missing:
            continue
        scan, phantom = make_scan(protocol, snr, seed, shape=shape, response=options.response)
        fit_options = FitOptions(
            preset=options.preset,
            n_step=options.steps,
            device=options.device,
            random_seed=seed,
            n_threads=options.threads,
            work_dir=options.work,
        )
        for cell, extra in missing:
            yield fit_cell(cell, scan, phantom, fit_options) | extra


def _identity(row: dict[str, Any]) -> str:
    keys = ("protocol", "snr", "seed", "model", "settings")
    return json.dumps([row[key] for key in keys], sort_keys=True)


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Read what an earlier run has measured, its failures left out."""
    if not file.is_file():
        return []
    return [row for row in json.loads(file.read_text())["rows"] if "error" not in row]


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=default_models())
    parser.add_argument("--protocols", nargs="+", choices=list(PROTOCOLS), default=list(PROTOCOLS))
    parser.add_argument("--snr", nargs="+", type=float, default=[30.0, 15.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--preset", default="fast", help="of SHD and SHD-TV")
    parser.add_argument("--steps", type=int, help="of training; by default the preset's")
    parser.add_argument("--device", default="cpu", help="of SHD and SHD-TV")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shape", nargs=3, type=int, default=(36, 36, 36), metavar="VOXELS")
    parser.add_argument("--response", choices=("estimated", "true"), default="estimated")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep the fODFs here")
    parser.add_argument("--resume", action="store_true", help="keep the rows of --json")
    add_output_arguments(parser)
    options = parser.parse_args(argv)
    if options.resume and options.json is None:
        parser.error("--resume needs --json, the file to go on with.")
    if options.work is not None:
        options.work.mkdir(parents=True, exist_ok=True)
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write what was asked for."""
    options = parse_arguments(argv)
    rows = read_rows(options.json) if options.resume else []
    for row in measure(options, rows):
        rows.append(row)
        write_record(options, name="accuracy", rows=rows)
        print(_progress(row), flush=True)
    print_accuracy(rows)
    if options.figure is not None:
        draw_accuracy(rows, options.figure)


def _progress(row: dict[str, Any]) -> str:
    name = f"{row['protocol']} SNR {row['snr']:g} seed {row['seed']} {row['model']}"
    if "error" in row:
        return f"{name}: failed. {row['error']}"
    overall = row["scores"]["0.1"]["overall"]
    error = overall["angular_error_deg"]
    return (
        f"{name}: {row['seconds']:.0f} s, "
        + ("no fibre found" if error is None else f"{error:.2f} deg")
        + f", {overall['false_positives']:.3f} false positives a fibre"
    )


if __name__ == "__main__":
    main()
