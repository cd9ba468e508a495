"""One network for many scans."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from deconvolution.job_files import SHAPE, write_job, write_scan
from deconvolution.scans import TINY
from deconvolution.test_parallel import run_together

from shd_bids.deconvolution.checkpoint import read_settings
from shd_bids.deconvolution.inputs import ScanFiles
from shd_bids.deconvolution.job import Job, run_job
from shd_bids.deconvolution.presets import PRESETS
from shd_bids.deconvolution.study import train_study
from shd_bids.errors import ConfigError, GradientTableError, ResponseError

STUDY_FILES = {"weights.safetensors", "history.json", "summary.json"}


def _write_study(folder: Path, n_further: int = 2, **changes: Any) -> Path:
    further = [write_scan(folder / f"{i}", noise=0.03 + 0.01 * i) for i in range(n_further)]
    del further[0]["responses"]  # those of the job
    return write_job(folder, scans=further, **changes)


@pytest.fixture
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "fast", replace(TINY, hidden_parts=2, hidden_views=2))


@pytest.mark.usefixtures("tiny_preset")
def test_the_weights_of_a_study_deconvolve_a_scan_without_training(tmp_path: Path) -> None:
    run_job(Job.from_file(_write_study(tmp_path)))
    out_dir = tmp_path / "out"
    assert {file.name for file in out_dir.iterdir()} == STUDY_FILES
    history = json.loads((out_dir / "history.json").read_text())
    assert history["step"] == [1, 2, 3]
    summary = json.loads((out_dir / "summary.json").read_text())
    assert (summary["n_scan"], summary["n_process"]) == (3, 1)

    weights_file = str(out_dir / "weights.safetensors")
    alone = write_job(tmp_path, weights_file=weights_file, out_dir=str(tmp_path / "alone"))
    run_job(Job.from_file(alone))
    image = nib.load(tmp_path / "alone" / "fod_WM.nii.gz")
    assert image.shape == (*SHAPE, 6)
    assert np.asarray(image.dataobj)[1:].any()


@pytest.mark.usefixtures("tiny_preset")
def test_every_scan_of_a_study_counts(tmp_path: Path) -> None:
    totals = []
    for n_further in (1, 2):
        folder = tmp_path / f"study{n_further}"
        folder.mkdir()
        run_job(Job.from_file(_write_study(folder, n_further)))
        totals.append(json.loads((folder / "out" / "history.json").read_text())["loss"]["total"])
    assert totals[0] != totals[1]


def test_a_scan_with_other_shells_is_named(tmp_path: Path) -> None:
    scans = [
        ScanFiles.from_dict(write_scan(tmp_path / f"{len(bvals)}", bvals))
        for bvals in [(1000.0,), (1000.0, 2500.0)]
    ]
    with pytest.raises(GradientTableError, match=r"2/dwi\.b has 3 shells .*/1/dwi\.b has 2"):
        train_study(scans, preset=TINY)


def test_a_scan_with_other_tissues_is_named(tmp_path: Path) -> None:
    first = ScanFiles.from_dict(write_scan(tmp_path / "first"))
    other = replace(first, dwi_file=Path("other.nii.gz"), responses={"WM": Path("WM.txt")})
    with pytest.raises(ResponseError, match=r"other\.nii\.gz has responses of WM, but .* WM, CSF"):
        train_study([first, other], preset=TINY)


def test_a_model_without_a_network_cannot_be_trained_on_a_study(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="csd has no network to train on several scans"):
        run_job(Job.from_file(_write_study(tmp_path, 1, model="csd")))


@pytest.mark.slow
def test_processes_share_the_scans_of_a_study(tmp_path: Path) -> None:
    result = run_together("-m", "shd_bids.deconvolution", str(_write_study(tmp_path)))
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("Fitted shd-tv") == 1
    assert {file.name for file in (tmp_path / "out").iterdir()} == STUDY_FILES
    assert read_settings(tmp_path / "out" / "weights.safetensors").tissues == ("WM", "CSF")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["n_scan"], summary["n_process"]) == (3, 2)


@pytest.mark.slow
def test_processes_share_one_scan(tmp_path: Path) -> None:
    result = run_together("-m", "shd_bids.deconvolution", str(write_job(tmp_path)))
    assert result.returncode == 0, result.stderr
    assert nib.load(tmp_path / "out" / "fod_WM.nii.gz").shape == (*SHAPE, 6)
