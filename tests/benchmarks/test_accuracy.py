"""The accuracy benchmark, on phantoms of a few hundred voxels."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import models
from benchmarks.accuracy import PROTOCOLS, main, make_scan
from benchmarks.accuracy_tables import hold_contests, print_accuracy
from benchmarks.models import FitOptions
from shd_bids.deconvolution.solution import FodfSolution
from shd_bids.errors import ResponseError
from shd_bids.sphere.harmonics import sh_basis
from shd_bids.testing.score import score_fodf

SHAPE = (10, 10, 10)
SMALL = ["--shape", *map(str, SHAPE), "--response", "true", "--seeds", "1", "--snr", "30"]


def _row(model: str, error_deg: float, *, seed: int = 1) -> dict:
    group = {"angular_error_deg": error_deg, "false_positives": 0.0, "false_negatives": 0.0}
    group |= {"success": 1.0, "n_voxel": 5, "n_fibre": 9}
    score = {"overall": group, "groups": {"crossing 45-60 deg": group}, "tissue_error": {}}
    cell = {"protocol": "single-shell", "snr": 30.0, "seed": seed, "model": model, "seconds": 1.0}
    return cell | {"scores": {"0.1": score}}


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_every_protocol_can_be_deconvolved_with_its_responses(protocol: str):
    scan, phantom = make_scan(protocol, 30.0, 1, shape=SHAPE, response="true")
    assert scan.dwi.shape[3] == scan.shells.counts.sum() == scan.gradients.n_volume
    assert 2 <= len(scan.responses) <= scan.shells.n_shell
    solution = models.MODELS["csd"](scan, FitOptions(lmax=4))
    score = score_fodf(solution.fodf_sh, phantom.truth, mask=phantom.mask)
    assert score.groups["1 fibre"].angular_error_deg < 10.0


def test_a_seed_gives_the_same_scan_and_another_seed_another_brain():
    one, again, other = (
        make_scan("low-angular", 30.0, seed, shape=SHAPE, response="true")[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.dwi, again.dwi)
    assert np.any(one.mask != other.mask)


def test_the_command_prints_tables_and_writes_record_and_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    files = ["--json", str(tmp_path / "a.json"), "--figure", str(tmp_path / "a.png")]
    work = ["--work", str(tmp_path / "work")]
    main(["--models", "csd", "--protocols", "low-angular", *SMALL, *files, *work])
    printed = capsys.readouterr().out
    assert "Mean angular error" in printed
    assert "False positives per fibre" in printed
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert [(row["model"], row["seed"]) for row in rows] == [("csd", 1)]
    assert set(rows[0]["scores"]) == {"0.1", "0.2"}
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert (tmp_path / "work/low-angular_snr-30_seed-1_csd_WM.nii.gz").is_file()


def test_what_was_measured_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fits = []

    def fit(scan, options):
        fits.append(options.random_seed)
        fodf_sh = np.zeros((*scan.mask.shape, 6), dtype=np.float32)
        return FodfSolution("csd", fodf_sh, np.zeros(scan.mask.shape, dtype=np.float32))

    monkeypatch.setitem(models.MODELS, "csd", fit)
    small = ["--models", "csd", "--protocols", "low-angular", *SMALL]
    command = [*small, "--json", str(tmp_path / "a.json")]
    main(command)
    main([*command, "--resume", "--seeds", "1", "2"])
    assert fits == [1, 2]
    assert len(json.loads((tmp_path / "a.json").read_text())["rows"]) == 2
    main([*command, "--resume", "--shape", "12", "12", "12"])
    assert fits == [1, 2, 1]


def test_a_model_that_fails_does_not_end_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    def fail(scan, options):
        raise ResponseError("no such luck")

    monkeypatch.setitem(models.MODELS, "csd", fail)
    main(["--models", "csd", "--protocols", "low-angular", *SMALL])
    assert "Failed: csd on low-angular at SNR 30, seed 1: no such luck" in capsys.readouterr().out


def test_the_preset_and_its_steps_reach_the_network(monkeypatch: pytest.MonkeyPatch):
    seen = {}
    nothing = np.zeros((*SHAPE, 6), dtype=np.float32)
    solution = FodfSolution("shd", nothing, nothing[..., 0])

    def fit_shd(*arguments, **options):
        seen.update(options)
        return SimpleNamespace(solution=solution)

    monkeypatch.setattr(models, "fit_shd", fit_shd)
    scan, _ = make_scan("low-angular", 30.0, 1, shape=SHAPE, response="true")
    options = FitOptions(preset="standard", n_step=7, random_seed=3, n_threads=2)
    assert models.MODELS["shd"](scan, options) is solution
    assert (seen["model"], seen["random_seed"], seen["n_threads"]) == ("shd", 3, 2)
    assert seen["preset"].steps == 7
    assert seen["preset"].n_side == 8


def test_the_network_is_trained_and_scored_like_any_model(tmp_path: Path):
    command = ["--models", "shd-tv", "--steps", "2", "--protocols", "low-angular", *SMALL]
    main([*command, "--json", str(tmp_path / "a.json")])
    (row,) = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert row["settings"]["steps"] == 2
    assert row["scores"]["0.1"]["overall"]["n_fibre"] > 50


def test_seeds_are_averaged_and_the_best_model_marked(capsys: pytest.CaptureFixture):
    rows = [_row("shd-tv", 3.0), _row("shd-tv", 5.0, seed=2), _row("csd", 6.0)]
    print_accuracy(rows)
    printed = capsys.readouterr().out
    assert "4.00±1.41*" in printed
    assert "shd-tv is first in every cell" in printed


def test_lost_cells_are_listed_but_a_draw_is_none(capsys: pytest.CaptureFixture):
    rows = [_row("shd-tv", 7.0), _row("csd", 6.0)]
    contests = list(hold_contests(rows, "false_positives"))
    assert contests[0].winners == ["shd-tv", "csd"]
    print_accuracy(rows)
    lost = capsys.readouterr().out.partition("Where shd-tv is not first")[2]
    assert lost.count("angular_error_deg") == 2
    assert "false_positives" not in lost


@pytest.mark.needs_tool("dwi2fod")
@pytest.mark.parametrize("model", ["mrtrix-csd", "mrtrix-msmt-csd"])
def test_mrtrix_gives_our_basis_scale_axes_and_grid(model: str, tmp_path: Path):
    scan, phantom = make_scan("multi-shell", np.inf, 1, shape=SHAPE, response="true")
    solution = models.MODELS[model](scan, FitOptions(work_dir=tmp_path))
    truth = phantom.truth
    single = truth.fractions[..., 0] > 0.95
    assert single.sum() > 5
    basis = sh_basis(truth.directions[single][:, 0], 8)
    along = np.sum(basis * solution.fodf_sh[single], axis=1)
    around = np.sqrt(np.sum(solution.fodf_sh[single] ** 2, axis=1) / (4 * np.pi))
    assert np.all(along > 3 * around)  # the fODF peaks where the fibre runs
    np.testing.assert_allclose(solution.fodf_sh[single][:, 0] * np.sqrt(4 * np.pi), 1, atol=0.2)
    assert not list(tmp_path.iterdir())
