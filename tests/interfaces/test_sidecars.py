"""Sidecars say all that it takes to use what stands beside them."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from deconvolution.job_files import write_job
from deconvolution.scans import TINY

from shd_bids.deconvolution.job import Job, run_job
from shd_bids.deconvolution.presets import PRESETS
from shd_bids.deconvolution.recorded import AskedFit, differences
from shd_bids.dwi.gradients import read_mrtrix_gradients
from shd_bids.interfaces.sidecars import DescribeModel, DescribeResponse
from shd_bids.sphere.harmonics import degrees_of_coefficients, sh_basis


@pytest.fixture
def tiny_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "fast", replace(TINY, tile=6))


def _fit(folder, model):
    """Fit a model; give its job and the outputs of the node that describes it."""
    job = Job.from_file(write_job(folder, model=model))
    run_job(job)
    node = DescribeModel(
        model=model.replace("-", ""),
        fod_files={
            file.name.removeprefix("fod_").removesuffix(".nii.gz"): str(file)
            for file in job.out_dir.glob("fod_*.nii.gz")
        },
        summary_file=str(job.out_dir / "summary.json"),
        gradients_file=str(job.gradients_file),
        response_files={tissue: str(file) for tissue, file in job.responses.items()},
        b0_threshold=job.b0_threshold,
        shell_tolerance=job.shell_tolerance,
        sources=["bids::dwi.nii.gz"],
        response_uris={tissue: f"bids::{tissue}.txt" for tissue in ("WM", "GM", "CSF")},
        fod_uris={tissue: f"bids::{tissue}.nii.gz" for tissue in ("WM", "GM", "CSF")},
    )
    return job, node.run(cwd=str(folder)).outputs


def _read(file: Path) -> np.ndarray:
    return np.asarray(nib.load(file).dataobj)


@pytest.mark.usefixtures("tiny_preset")
@pytest.mark.parametrize("model", ["shd-tv", "esd"])
def test_the_sidecars_of_a_network_suffice_to_predict_its_signal(tmp_path, model):
    job, described = _fit(tmp_path, model)
    white, fluid = (json.loads(json.dumps(described.fod_sidecars[t])) for t in ("WM", "CSF"))
    lmax = white["OrientationEncoding"]["SphericalHarmonicDegree"]
    degrees = degrees_of_coefficients(lmax)
    table = read_mrtrix_gradients(job.gradients_file)
    shell = (table.bvals > job.b0_threshold).astype(int)

    response = np.array(white["ResponseFunction"]["Coefficients"])[:, : lmax // 2 + 1]
    gain = response / white["FibreLobe"] * np.sqrt(4 * np.pi / (2 * np.arange(0, lmax + 1, 2) + 1))
    to_signal = sh_basis(table.bvecs_ras, lmax) * gain[shell][:, degrees // 2]
    isotropic = np.array(fluid["ResponseFunction"]["Coefficients"])[shell, 0]
    signal = _read(job.out_dir / "fod_WM.nii.gz") @ to_signal.T
    signal += _read(job.out_dir / "fod_CSF.nii.gz")[..., None] * isotropic

    residual = (signal - _read(job.dwi_file)) / (response[0, 0] / np.sqrt(4 * np.pi))
    mask = _read(job.mask_file) > 0
    found = np.sqrt((residual**2).mean(axis=-1))[mask]
    np.testing.assert_allclose(found, _read(job.out_dir / "rmse.nii.gz")[mask], rtol=1e-3)


@pytest.mark.usefixtures("tiny_preset")
@pytest.mark.parametrize("model", ["shd-tv", "esd", "csd"])
def test_a_fit_is_known_again_by_its_sidecar(tmp_path, model):
    job, described = _fit(tmp_path, model)
    settings = json.loads(json.dumps(described.fod_sidecars["WM"]["Settings"]))
    asked = AskedFit(model, job.lmax, job.random_seed, n_step=job.n_step, tv_weight=job.tv_weight)
    assert differences(asked, settings) == []
    assert differences(replace(asked, model="rumba"), settings)


@pytest.mark.usefixtures("tiny_preset")
@pytest.mark.parametrize(("model", "lobe"), [("shd-tv", [1.0, 0.5]), ("rumba", [1.0, 0.4])])
def test_white_matter_that_is_made_of_lobes_says_so(tmp_path, model, lobe):
    sidecars = _fit(tmp_path, model)[1].fod_sidecars
    assert sidecars["WM"]["FibreLobe"] == pytest.approx(lobe)
    assert "apodised delta function" in sidecars["WM"]["Description"]
    assert "FibreLobe" not in sidecars["CSF"]


def test_white_matter_that_is_made_of_delta_functions_has_no_lobe(tmp_path):
    assert "FibreLobe" not in _fit(tmp_path, "csd")[1].fod_sidecars["WM"]


def test_a_response_that_was_given_names_its_file_and_the_others_the_series(tmp_path):
    job = Job.from_file(write_job(tmp_path, model="csd"))
    node = DescribeResponse(
        method="given",
        gradients_file=str(job.gradients_file),
        response_files={tissue: str(file) for tissue, file in job.responses.items()},
        b0_threshold=job.b0_threshold,
        shell_tolerance=job.shell_tolerance,
        sources=["bids::dwi.nii.gz"],
        given_uris={"WM": ["file:///study/wm.txt"]},
    )
    sidecars = node.run(cwd=str(tmp_path)).outputs.sidecars
    assert sidecars["WM"]["Sources"] == ["file:///study/wm.txt"]
    assert sidecars["CSF"]["Sources"] == ["bids::dwi.nii.gz"]
