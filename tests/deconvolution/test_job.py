"""A fit from files to files, in this process and in one of its own."""

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from deconvolution.job_files import AFFINE, SHAPE, write_job
from deconvolution.scans import TINY

from shd_bids.deconvolution.checkpoint import read_settings
from shd_bids.deconvolution.job import Job, run_job
from shd_bids.deconvolution.presets import PRESETS


def _run(job_file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "shd_bids.deconvolution", str(job_file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def _check_outputs(out_dir: Path, n_coef: int) -> None:
    expected_shapes = {
        "fod_WM": (*SHAPE, n_coef),
        "fod_CSF": SHAPE,
        "fractions": (*SHAPE, 3),
        "rmse": SHAPE,
    }
    for name, shape in expected_shapes.items():
        image = nib.load(out_dir / f"{name}.nii.gz")
        data = np.asarray(image.dataobj)
        assert data.shape == shape, name
        assert np.isfinite(data).all(), name
        assert not data[0].any(), name  # outside the mask
        np.testing.assert_array_equal(image.affine, AFFINE)
    assert not (out_dir / "fod_GM.nii.gz").exists()
    fractions = np.asarray(nib.load(out_dir / "fractions.nii.gz").dataobj)
    np.testing.assert_allclose(fractions[1:].sum(axis=-1), 1.0, atol=1e-5)
    assert not fractions[..., 1].any()  # no grey matter in this model


@pytest.fixture
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "fast", replace(TINY, tile=6))


@pytest.mark.usefixtures("tiny_preset")
def test_a_job_writes_every_file(tmp_path: Path) -> None:
    run_job(Job.from_file(write_job(tmp_path)))
    out_dir = tmp_path / "out"
    _check_outputs(out_dir, 6)
    history = json.loads((out_dir / "history.json").read_text())
    assert history["step"] == [1, 2, 3]
    assert len(history["loss"]["total"]) == len(history["seconds"]) == 3
    assert history["voxels_per_s"] > 0
    summary = json.loads((out_dir / "summary.json").read_text())
    assert summary["model"] == "shd-tv"
    assert summary["tissues"] == ["WM", "CSF"]
    assert summary["precision"] == "float32"
    assert summary["random_seed"] == 0
    assert read_settings(out_dir / "weights.safetensors").tissues == ("WM", "CSF")
    assert (tmp_path / "checkpoint" / "training.safetensors").is_file()


@pytest.mark.parametrize(
    ("model", "spatial", "form"), [("esd", False, "commuted"), ("rt-esd", True, "sphere")]
)
@pytest.mark.usefixtures("tiny_preset")
def test_the_predecessors_of_shd_are_settings_of_its_network(
    model: str, spatial: bool, form: str, tmp_path: Path
) -> None:
    run_job(Job.from_file(write_job(tmp_path, model=model)))
    out_dir = tmp_path / "out"
    _check_outputs(out_dir, 6)
    settings = read_settings(out_dir / "weights.safetensors")
    assert (settings.spatial, settings.form) == (spatial, form)
    summary = json.loads((out_dir / "summary.json").read_text())
    assert summary["loss_weights"]["total_variation"] == 0.0


@pytest.mark.usefixtures("tiny_preset")
def test_saved_weights_give_the_same_fodf_without_training(tmp_path: Path) -> None:
    run_job(Job.from_file(write_job(tmp_path)))
    weights_file = str(tmp_path / "out" / "weights.safetensors")
    again_dir = tmp_path / "again"
    again = write_job(tmp_path, weights_file=weights_file, out_dir=str(again_dir))
    run_job(Job.from_file(again))
    first, second = (
        np.asarray(nib.load(folder / "fod_WM.nii.gz").dataobj)
        for folder in (tmp_path / "out", again_dir)
    )
    np.testing.assert_array_equal(first, second)
    assert not (again_dir / "history.json").exists()


@pytest.mark.usefixtures("tiny_preset")
def test_a_degree_beyond_the_vertices_is_lowered_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run_job(Job.from_file(write_job(tmp_path, lmax=8, n_step=1)))
    assert "--lmax 8 is more than a sphere with n_side 2 carries; using 2" in caplog.text
    assert nib.load(tmp_path / "out" / "fod_WM.nii.gz").shape == (*SHAPE, 6)


@pytest.mark.parametrize("model", ["csd", "msmt-csd", "rumba", "rumba-tv"])
def test_a_classical_model_writes_its_images_and_a_summary(model: str, tmp_path: Path) -> None:
    run_job(Job.from_file(write_job(tmp_path, model=model)))
    out_dir = tmp_path / "out"
    names = {file.name.split(".")[0] for file in out_dir.iterdir()}
    tissues = ["WM"] if model == "csd" else ["WM", "CSF"]
    assert names == {*(f"fod_{tissue}" for tissue in tissues), "fractions", "rmse", "summary"}
    if model != "csd":
        _check_outputs(out_dir, 6)
    summary = json.loads((out_dir / "summary.json").read_text())
    assert (summary["model"], summary["tissues"]) == (model, tissues)


def test_an_error_ends_the_process_with_its_message_as_the_last_line(tmp_path: Path) -> None:
    result = _run(write_job(tmp_path, preset="huge"))
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last == "--shd-preset huge is unknown; choose one of fast, standard, paper."
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_a_job_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    result = _run(write_job(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "Fitted shd-tv" in result.stdout.splitlines()[-1]
    _check_outputs(tmp_path / "out", 6)
