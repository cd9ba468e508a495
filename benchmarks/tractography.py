"""How well bundles are followed between end regions that are known, by ours and by MRtrix3.

``python -m benchmarks.tractography --json FILE`` scans a phantom, fits each model to the same noisy
data with the same responses, tracks with each candidate (a model and a tracker) until it has kept
as many streamlines as the others, and scores them as the Tractometer does. Fits are shared by the
candidates of a model. With ``--phantomas`` the 27 bundles of the 2013 HARDI challenge come too.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation
from threadpoolctl import threadpool_limits

from shd_bids.deconvolution.solution import FodfSolution
from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.shells import cluster_shells
from shd_bids.errors import ShdBidsError
from shd_bids.response.estimate import estimate_responses, tissues_for_protocol
from shd_bids.response.io import Response
from shd_bids.testing.bundles import BundleTruth, make_bundle_phantom
from shd_bids.testing.phantomas import make_phantomas
from shd_bids.testing.scan import Phantom
from shd_bids.testing.scheme import MULTI_SHELL, SINGLE_SHELL
from shd_bids.testing.tractometer import score_streamlines
from shd_bids.tractography.tractogram import read_batches

from .models import MODELS, FitOptions
from .mrtrix import mrtrix_is_installed
from .record import add_output_arguments, write_record
from .scan import Scan
from .trackers import TRACKERS, Task, cpu_seconds
from .tractography_tables import draw_tractography, print_tractography

PROTOCOLS = {"multi-shell": MULTI_SHELL, "single-shell": SINGLE_SHELL}
_BRAIN = "bundles"
_PHANTOMAS = "phantomas"
_FIELD_OF_VIEW_MM = 72.0
_MARGIN_VOX = 1  # about the bundles, that is deconvolved too


@dataclass(frozen=True)
class Candidate:
    """A deconvolution and the tracker that follows it."""

    model: str
    tracker: str

    @classmethod
    def of(cls, text: str) -> "Candidate":
        """Read ``MODEL:TRACKER``."""
        model, _, tracker = text.partition(":")
        if model not in MODELS or tracker not in TRACKERS:
            raise argparse.ArgumentTypeError(
                f"{text} is no candidate; expected MODEL:TRACKER with a model of "
                f"{', '.join(MODELS)} and a tracker of {', '.join(TRACKERS)}."
            )
        return cls(model, tracker)

    def __str__(self) -> str:
        return f"{self.model}:{self.tracker}"

    @property
    def needs_mrtrix(self) -> bool:
        """Whether it can only run where MRtrix3 is installed."""
        return self.model.startswith("mrtrix") or self.tracker.startswith("ifod2")


CANDIDATES = (
    Candidate("shd-tv", "probabilistic"),
    Candidate("shd-tv", "probabilistic-t1w"),
    Candidate("shd-tv", "deterministic"),
    Candidate("shd-tv", "ptt"),
    Candidate("shd-tv", "pft-t1w"),
    Candidate("msmt-csd", "probabilistic"),
    Candidate("csd", "probabilistic"),
    Candidate("mrtrix-msmt-csd", "ifod2"),
    Candidate("mrtrix-msmt-csd", "ifod2-act"),
    Candidate("shd-tv", "ifod2"),  # tells what the fODF does from what the tracker does
    Candidate("mrtrix-msmt-csd", "probabilistic"),
)


def default_candidates() -> list[Candidate]:
    """Give the candidates that can run here."""
    has_mrtrix = mrtrix_is_installed()
    return [candidate for candidate in CANDIDATES if has_mrtrix or not candidate.needs_mrtrix]


def make_scan(
    name: str, protocol: str, seed: int, options: argparse.Namespace
) -> tuple[Scan, Phantom, BundleTruth]:
    """Scan a phantom and give what a user would deconvolve it with.

    Parameters
    ----------
    name
        ``bundles`` or ``phantomas``.
    protocol
        Of :data:`PROTOCOLS`.
    seed
        Of noise and gradient directions.
    options
        SNR, size, and whether responses are estimated.
    """
    settings = {"shells": PROTOCOLS[protocol], "snr": options.snr, "seed": seed}
    if name == _PHANTOMAS:
        phantom, truth = make_phantomas(options.phantomas, **settings)
    else:
        voxel_mm = _FIELD_OF_VIEW_MM / options.shape[0]
        phantom, truth = make_bundle_phantom(tuple(options.shape), voxel_mm, **settings)
    gradients = GradientTable(phantom.bvals, phantom.bvecs_ras)
    shells = cluster_shells(phantom.bvals)
    if options.response == "true":
        tissues, _ = tissues_for_protocol(shells)
        responses = {
            tissue: Response(tissue, shells.bvals, phantom.responses[tissue]) for tissue in tissues
        }
    else:
        responses = estimate_responses(phantom.dwi, gradients, shells, phantom.mask).responses
    if name == _PHANTOMAS:  # three quarters of it are grey matter far from any bundle
        near = binary_dilation(np.any(truth.masks, axis=0), iterations=_MARGIN_VOX)
        phantom = replace(phantom, mask=phantom.mask & near)
    scan = Scan(phantom.dwi, gradients, shells, phantom.mask, responses, phantom.affine)
    return scan, phantom, truth


def track_and_score(candidate: Candidate, task: Task, truth: BundleTruth) -> dict[str, Any]:
    """Track to a scratch file and score it.

    Returns
    -------
    row
        ``track_seconds``, ``track_cpu_seconds``, ``streamlines_per_cpu_second``,
        ``peak_memory_mib``, and the score with the number of valid connections of each bundle.
    """
    with tempfile.TemporaryDirectory(prefix="tracts-") as folder:
        tck_file = Path(folder) / "tracts.tck"
        run = TRACKERS[candidate.tracker](task, tck_file)
        tractometer = score_streamlines(read_batches(tck_file), truth)
    score = tractometer.score()
    return {
        **score,
        "track_seconds": run.seconds,
        "track_cpu_seconds": run.cpu_seconds,
        "streamlines_per_cpu_second": score["n_streamline"] / max(run.cpu_seconds, 1e-3),
        "peak_memory_mib": run.peak_memory_mib,
        "valid_by_bundle": dict(zip(truth.names, tractometer.n_valid.tolist(), strict=True)),
    }


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Scan, fit, track and score; what fails leaves its message.

    Returns
    -------
    rows
        Phantom, protocol, SNR, seed, model, tracker, ``fit_cpu_seconds``, and what
        :func:`track_and_score` gives.
    """
    phantoms = [_BRAIN] + [_PHANTOMAS] * (options.phantomas is not None)
    for name, seed, protocol in product(phantoms, options.seeds, options.protocols):
        scan, phantom, truth = make_scan(name, protocol, seed, options)
        cell = {"phantom": name, "protocol": protocol, "snr": options.snr, "seed": seed}
        for model in dict.fromkeys(candidate.model for candidate in options.candidates):
            candidates = [c for c in options.candidates if c.model == model]
            before = cpu_seconds()
            try:
                solution = _fit(model, scan, seed, options)
            except ShdBidsError as error:
                yield from ({**cell, **asdict(c), "error": str(error)} for c in candidates)
                continue
            fit = {"fit_cpu_seconds": cpu_seconds() - before}
            task = Task(
                solution=solution,
                phantom=phantom,
                n_streamlines=options.n_streamlines,
                min_length_mm=options.min_length_mm,
                max_length_mm=options.max_length_mm,
                random_seed=seed,
                n_threads=options.threads,
            )
            for candidate in candidates:
                row = {**cell, **asdict(candidate), **fit}
                try:
                    yield row | track_and_score(candidate, task, truth)
                except ShdBidsError as error:
                    yield row | {"error": str(error)}


def _fit(model: str, scan: Scan, seed: int, options: argparse.Namespace) -> FodfSolution:
    fit_options = FitOptions(
        preset=options.preset,
        n_step=options.steps,
        random_seed=seed,
        n_threads=options.threads,
    )
    with threadpool_limits(options.threads):
        return MODELS[model](scan, fit_options)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tractography", description=__doc__)
    parser.add_argument(
        "--candidates",
        nargs="+",
        type=Candidate.of,
        default=default_candidates(),
        metavar="MODEL:TRACKER",
    )
    parser.add_argument("--protocols", nargs="+", choices=list(PROTOCOLS), default=list(PROTOCOLS))
    parser.add_argument("--snr", type=float, default=20.0, help="of white matter at b=0")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2], help="of noise and tracks")
    parser.add_argument("--n-streamlines", type=int, default=20_000, help="that each keeps")
    parser.add_argument("--min-length-mm", type=float, default=20.0)
    parser.add_argument("--max-length-mm", type=float, default=250.0)
    parser.add_argument("--phantomas", type=Path, metavar="DIR", help="the 2013 HARDI challenge")
    parser.add_argument("--preset", default="fast", help="of SHD-TV")
    parser.add_argument("--steps", type=int, help="of training; by default the preset's")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shape", nargs=3, type=int, default=(36, 36, 28), metavar="VOXELS")
    parser.add_argument("--response", choices=("estimated", "true"), default="estimated")
    add_output_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write what was asked for."""
    options = parse_arguments(argv)
    record = argparse.Namespace(
        **vars(options) | {"candidates": list(map(str, options.candidates))}
    )
    rows: list[dict[str, Any]] = []
    for row in measure(options):
        rows.append(row)
        write_record(record, name="tractography", rows=rows)
        print(_progress(row), flush=True)
    print_tractography(rows)
    if options.figure is not None:
        draw_tractography(rows, options.figure)


def _progress(row: dict[str, Any]) -> str:
    name = f"{row['phantom']} {row['protocol']} seed {row['seed']} {row['model']}:{row['tracker']}"
    if "error" in row:
        return f"{name}: failed. {row['error']}"
    return (
        f"{name}: VC {row['valid']:.1f} %, IC {row['invalid']:.1f} %, "
        f"OL {row['overlap']:.1f} %, OR {row['overreach']:.1f} %, "
        f"{row['streamlines_per_cpu_second']:.0f} streamlines a CPU second"
    )


if __name__ == "__main__":
    main()
