"""How well a raw series is corrected, on phantoms whose every artefact is known.

``python -m benchmarks.preprocessing --json FILE`` scans a head that moves, under eddy currents,
distortion, shading, ringing, dropout and noise, corrects it as the app does, and scores each step.
Beside it: the scan as it is; the same head at rest with noise alone, as it is and denoised; DIPY's
``motion_correction``, which is given our denoised series and leaves distortion and
shading; MRtrix3's ``dwidenoise`` and ``mrdegibbs``. These two steps are scored on a head at rest
that rings, for all tools alike. All fODFs are CSD with responses from the same data.
"""

import argparse
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from shd_bids.dwi.denoise import denoise_mppca
from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.shells import cluster_shells
from shd_bids.dwi.transforms import VolumeTransforms, rotate_gradients
from shd_bids.errors import ShdBidsError
from shd_bids.response.estimate import estimate_responses
from shd_bids.testing.artefacts import ArtefactPhantom, Artefacts, make_artefact_phantom
from shd_bids.testing.preproc_score import (
    score_bias,
    score_dropout,
    score_field,
    score_gradients,
    score_motion,
    score_signal,
)
from shd_bids.testing.score import score_fodf

from .accuracy import PROTOCOLS
from .models import MODELS, FitOptions
from .preprocessing_chain import Corrected, Costs, clean_series, correct
from .preprocessing_peers import (
    PEERS,
    Moved,
    clean_mrtrix,
    correct_motion_dipy,
    installed_peers,
)
from .preprocessing_tables import draw_preprocessing, print_preprocessing
from .record import add_output_arguments, write_record
from .scan import Scan

ARTEFACTS = Artefacts(5.0, 5.0, eddy=0.02, field_hz=60.0, bias=0.3, gibbs=True, dropout=0.02)
Scores = dict[str, float | None]


def make_phantoms(
    protocol: str, seed: int, *, shape: tuple[int, int, int], voxel_size_mm: float, snr: float
) -> tuple[ArtefactPhantom, ArtefactPhantom]:
    """Scan a head with all artefacts, and again at rest with noise and ringing alone.

    Parameters
    ----------
    protocol
        Of :data:`benchmarks.accuracy.PROTOCOLS`.
    shape, voxel_size_mm
        Of the grid, which the head fills.
    """
    full, still = (
        make_artefact_phantom(
            shape,
            voxel_size_mm,
            shells=PROTOCOLS[protocol],
            snr=snr,
            seed=seed,
            artefacts=artefacts,
        )
        for artefacts in (ARTEFACTS, replace(Artefacts.none(), gibbs=True))
    )
    return full, still


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Give a row for each protocol, seed and tool: ``scores`` by measure, ``costs`` by step."""
    for protocol, seed in product(options.protocols, options.seeds):
        shape = tuple(options.shape)
        phantom, still = make_phantoms(
            protocol, seed, shape=shape, voxel_size_mm=options.voxel_size, snr=options.snr
        )
        with threadpool_limits(options.threads):
            for tool, scores, costs in _measure_tools(phantom, still, options):
                yield {
                    "protocol": protocol,
                    "seed": seed,
                    "tool": tool,
                    "scores": scores,
                    "costs": costs.steps,
                }


def _measure_tools(
    phantom: ArtefactPhantom, still: ArtefactPhantom, options: argparse.Namespace
) -> Iterator[tuple[str, Scores, Costs]]:
    scan, clean = phantom.scan, phantom.clean
    applied = GradientTable(scan.bvals, scan.bvecs_ras)
    seen = GradientTable(clean.bvals, clean.bvecs_ras)
    unmoved = Moved(scan.dwi, VolumeTransforms.identity(applied.n_volume))

    yield (
        "uncorrected",
        score_still(still, still.scan.dwi, still.scan.dwi)
        | score_head(phantom, unmoved.transforms, applied)
        | {
            "distortion left": 1.0,
            "bias left": score_bias(
                np.ones_like(phantom.truth.bias), phantom.truth.bias, scan.mask
            ),
        }
        | score_series(phantom, scan.dwi, applied),
        Costs(),
    )
    denoised, _ = denoise_mppca(clean.dwi, n_threads=options.threads)
    yield "artefact-free", score_series(phantom, clean.dwi, seen), Costs()
    yield "same, denoised", score_series(phantom, denoised, seen), Costs()

    costs = Costs()
    corrected = correct(phantom, costs, n_threads=options.threads)
    cleaned = clean_series(still.scan.dwi, Costs(), n_threads=options.threads)
    yield "shd-bids", score_still(still, *cleaned) | score_corrected(phantom, corrected), costs

    if "dipy" in options.peers:
        costs = Costs()
        moved = correct_motion_dipy(corrected.denoised, scan.affine, applied, costs)
        turned = rotate_gradients(applied, moved.transforms)
        scores = score_head(phantom, moved.transforms, turned)
        yield "dipy", scores | score_series(phantom, moved.dwi, turned), costs
    if "mrtrix" in options.peers:
        costs = Costs()
        cleaned = clean_mrtrix(still.scan.dwi, still.scan.affine, costs, n_threads=options.threads)
        yield "mrtrix", score_still(still, *cleaned), costs


def score_still(
    still: ArtefactPhantom,
    denoised: Float[np.ndarray, "x y z volume"],
    unrung: Float[np.ndarray, "x y z volume"],
) -> Scores:
    """Score denoising and unringing: rms error over the standard deviation of the noise."""
    series = {"denoised, sigma": denoised, "unrung, sigma": unrung}
    return {name: _signal_error(still, dwi) for name, dwi in series.items()}


def score_head(
    phantom: ArtefactPhantom, transforms: VolumeTransforms, gradients: GradientTable
) -> Scores:
    """Score head positions and turned gradients; the first volume, the reference, is left out."""
    scan, true = phantom.scan, phantom.truth.transforms
    error = score_motion(transforms, true, scan.affine, scan.mask)
    shells = cluster_shells(scan.bvals)
    scores: Scores = {}
    for shell, bval in enumerate(shells.bvals):
        volumes = shells.volumes(shell)
        volumes = volumes[volumes > 0]
        if len(volumes):
            scores[f"motion b={bval:g}, mm"] = float(np.median(error.translation_mm[volumes]))
            scores[f"motion b={bval:g}, deg"] = float(np.median(error.rotation_deg[volumes]))
    scores["motion at worst, mm"] = float(error.displacement_mm.max())
    applied = GradientTable(scan.bvals, scan.bvecs_ras)
    turned = score_gradients(gradients, applied, true)
    return scores | {"gradients, deg": float(np.median(turned))}


def score_series(
    phantom: ArtefactPhantom,
    dwi: Float[np.ndarray, "x y z volume"],
    gradients: GradientTable,
) -> Scores:
    """Score a series by its signal and by the fibres that CSD finds in it.

    The head lies as in the first volume and the mask is the true one, for all tools alike.
    """
    scan, shells = phantom.scan, cluster_shells(phantom.scan.bvals)
    scores: Scores = {"signal, sigma": _signal_error(phantom, dwi)}
    names = ("fibres, deg", "false + /fibre", "false - /fibre")
    try:
        responses = estimate_responses(dwi, gradients, shells, scan.mask).responses
        data = Scan(dwi, gradients, shells, scan.mask, responses, scan.affine)
        fodf_sh = MODELS["csd"](data, FitOptions()).fodf_sh
    except ShdBidsError as error:
        print(f"No fODF: {error}")
        return scores | dict.fromkeys(names)
    overall = score_fodf(fodf_sh, scan.truth, mask=scan.mask).overall
    values = overall.angular_error_deg, overall.false_positives, overall.false_negatives
    return scores | dict(zip(names, map(_finite, values), strict=True))


def score_corrected(phantom: ArtefactPhantom, corrected: Corrected) -> Scores:
    """Score what each step of our chain found."""
    scan, truth = phantom.scan, phantom.truth
    dropout = score_dropout(corrected.motion.outliers, truth.kept_signal)
    overlap = 2 * (corrected.mask & scan.mask).sum() / (corrected.mask.sum() + scan.mask.sum())
    return {
        **score_head(phantom, corrected.motion.transforms, corrected.gradients),
        "distortion left": score_field(corrected.fieldmap_hz, truth.field_hz, scan.mask),
        "head shifted, mm": corrected.shift_mm,
        "dropout recall": _finite(dropout.recall),
        "dropout precision": _finite(dropout.precision),
        "bias left": score_bias(corrected.bias, truth.bias, scan.mask),
        "mask, Dice": float(overlap),
        **score_series(phantom, corrected.dwi, corrected.gradients),
    }


def _signal_error(phantom: ArtefactPhantom, dwi: Float[np.ndarray, "x y z volume"]) -> float:
    return score_signal(dwi, phantom.noiseless, phantom.scan.mask) / phantom.scan.sigma


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.preprocessing", description=__doc__)
    default = ["single-shell", "multi-shell"]
    parser.add_argument("--protocols", nargs="+", choices=list(PROTOCOLS), default=default)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--snr", type=float, default=25.0, help="of white matter at b=0")
    parser.add_argument("--shape", nargs=3, type=int, default=(48, 48, 36), metavar="VOXELS")
    parser.add_argument("--voxel-size", type=float, default=2.5, metavar="MM")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=installed_peers())
    parser.add_argument("--threads", type=int, default=1)
    add_output_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write what was asked for."""
    options = parse_arguments(argv)
    logging.getLogger("dipy").setLevel(logging.ERROR)  # it tells of every volume
    rows: list[dict[str, Any]] = []
    for row in measure(options):
        rows.append(row)
        write_record(options, name="preprocessing", rows=rows)
        done = sum(step["seconds"] for step in row["costs"].values())
        print(f"{row['protocol']} seed {row['seed']} {row['tool']}: {done:.0f} s", flush=True)
    print_preprocessing(rows)
    if options.figure is not None:
        draw_preprocessing(rows, options.figure)


if __name__ == "__main__":
    main()
