"""The tractography benchmark, on a phantom of a few thousand voxels."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import models, tractography
from benchmarks.trackers import TRACKERS, Task
from benchmarks.tractography import Candidate, default_candidates, main
from benchmarks.tractography_tables import print_tractography
from shd_bids.deconvolution.solution import FodfSolution
from shd_bids.errors import ResponseError
from shd_bids.sphere.harmonics import sh_basis
from shd_bids.testing.bundles import BundleTruth, make_bundle_phantom
from shd_bids.testing.scan import Phantom
from shd_bids.testing.tractometer import score_streamlines
from shd_bids.tractography.tractogram import read_batches

SMALL = ["--shape", "20", "20", "16", "--response", "true", "--seeds", "1"]
SMALL += ["--n-streamlines", "200", "--protocols", "single-shell"]


@pytest.fixture(scope="module")
def scanned() -> tuple[Phantom, BundleTruth]:
    return make_bundle_phantom((24, 24, 19), 3.0, shells={0: 1, 1000: 6})


def _true_solution(phantom: Phantom) -> FodfSolution:
    """Give each fibre of the truth a sharp lobe."""
    truth = phantom.truth
    series = sh_basis(truth.directions.reshape(-1, 3), 8).reshape(*truth.fractions.shape, -1)
    fodf_sh = np.sum(series * truth.fractions[..., None], axis=-2).astype(np.float32)
    sizes = truth.tissue[..., 1:].astype(np.float32) / np.sqrt(4 * np.pi)
    tissue = {"GM": sizes[..., 0], "CSF": sizes[..., 1]}
    return FodfSolution("truth", fodf_sh, np.zeros(phantom.mask.shape, np.float32), tissue)


def _task(phantom: Phantom) -> Task:
    return Task(
        solution=_true_solution(phantom),
        phantom=phantom,
        n_streamlines=500,
        min_length_mm=20.0,
        max_length_mm=250.0,
        random_seed=1,
        n_threads=1,
    )


@pytest.mark.parametrize(
    "tracker",
    [
        "probabilistic",
        "pft-t1w",
        pytest.param("ifod2", marks=pytest.mark.needs_tool("tckgen")),
        pytest.param("ifod2-act", marks=pytest.mark.needs_tool("tckgen")),
    ],
)
def test_on_the_true_fodf_every_tracker_finds_the_bundles(tracker: str, scanned, tmp_path: Path):
    phantom, truth = scanned
    run = TRACKERS[tracker](_task(phantom), tmp_path / "tracts.tck")
    score = score_streamlines(read_batches(tmp_path / "tracts.tck"), truth).score()
    assert score["n_streamline"] == 500
    assert score["valid"] > max(score["invalid"], 25)
    assert score["valid_bundles"] >= 12
    assert min(run.seconds, run.cpu_seconds, run.peak_memory_mib) > 0


def test_the_command_prints_tables_and_writes_record_and_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    files = ["--json", str(tmp_path / "a.json"), "--figure", str(tmp_path / "a.png")]
    main(["--candidates", "csd:probabilistic", *SMALL, *files])
    printed = capsys.readouterr().out
    assert "bundles (13 bundles), single-shell, SNR 20, 200 streamlines" in printed
    record = json.loads((tmp_path / "a.json").read_text())
    (row,) = record["rows"]
    assert record["settings"]["candidates"] == ["csd:probabilistic"]
    assert (row["phantom"], row["model"], row["tracker"]) == ("bundles", "csd", "probabilistic")
    assert row["valid"] + row["invalid"] + row["none"] == pytest.approx(100)
    assert sum(row["valid_by_bundle"].values()) == pytest.approx(2 * row["valid"])
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_a_model_that_fails_does_not_end_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    def fail(scan, options):
        raise ResponseError("no such luck")

    monkeypatch.setitem(models.MODELS, "csd", fail)
    main(["--candidates", "csd:probabilistic", *SMALL])
    assert "Failed: csd:probabilistic on bundles, single-shell, seed 1: no such luck" in (
        capsys.readouterr().out
    )


def test_without_mrtrix_only_our_own_are_candidates(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tractography, "mrtrix_is_installed", lambda: False)
    assert not {"ifod2", "ifod2-act"} & {candidate.tracker for candidate in default_candidates()}
    assert Candidate("shd-tv", "probabilistic") in default_candidates()


def test_an_unknown_candidate_is_refused_with_those_that_are_known():
    with pytest.raises(argparse.ArgumentTypeError, match=r"expected MODEL:TRACKER.*shd-tv.*ifod2"):
        Candidate.of("shd-tv")


def test_seeds_are_averaged_and_the_best_of_each_column_marked(capsys: pytest.CaptureFixture):
    print_tractography([_row("shd-tv", 70.0), _row("shd-tv", 60.0), _row("csd", 50.0)])
    lines = capsys.readouterr().out.splitlines()
    assert "65.0*" in next(line for line in lines if line.startswith("shd-tv"))
    assert "50.0 " in next(line for line in lines if line.startswith("csd"))


def _row(model: str, valid: float) -> dict:
    names = "invalid none overlap overreach f1 valid_bundles invalid_bundles fit_cpu_seconds"
    costs = "streamlines_per_cpu_second peak_memory_mib"
    cell = {"phantom": "bundles", "protocol": "multi-shell", "snr": 20.0, "n_streamline": 9}
    cell |= {"n_bundle": 13, "model": model, "tracker": "probabilistic", "valid": valid}
    return cell | dict.fromkeys(f"{names} {costs}".split(), 1.0)
