"""A series that QSIPrep has preprocessed, from its derivatives to fibre orientations."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shd_bids.testing.qsiprep_tree import write_qsiprep_tree
from shd_bids.testing.scan import make_phantom


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("preprocessed")
    phantom = make_phantom((18, 18, 14), 4.0, shells={0: 3, 1000: 16})
    write_qsiprep_tree(phantom, root / "qsiprep")
    command = [
        *(sys.executable, "-m", "shd_bids.cli.run", root / "qsiprep", root / "out", "participant"),
        *("-w", root / "work", "--fod-model", "csd", "--lmax", 6, "--level", "fod"),
        *("--omp-nthreads", 1),
    ]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "out"


def test_the_fodf_lies_on_the_grid_of_the_input_and_names_its_space(out):
    name = "sub-01_space-ACPC_model-csd_param-fod_label-WM_dwimap"
    fod = nib.load(out / f"sub-01/dwi/{name}.nii.gz")
    given = nib.load(out.parent / "qsiprep/sub-01/dwi/sub-01_space-ACPC_desc-preproc_dwi.nii.gz")
    assert fod.shape[:3] == given.shape[:3]
    np.testing.assert_allclose(fod.affine, given.affine, atol=1e-4)
    sidecar = json.loads((out / f"sub-01/dwi/{name}.json").read_text())
    source = "bids:raw:sub-01/dwi/sub-01_space-ACPC_desc-preproc_dwi.nii.gz"
    assert source in sidecar["Sources"]
    assert sidecar["GradientConvention"] == "mrtrix"
    quality = json.loads((out / "sub-01/dwi/sub-01_desc-image_qc.json").read_text())
    assert quality["GradientConventionReason"] == sidecar["GradientConventionReason"]
    assert quality["GradientCheck"]["Verdict"]


def test_mask_and_confounds_are_those_of_the_input_and_the_series_is_not_copied(out):
    mask, given = (
        nib.load(folder / "sub-01/dwi/sub-01_space-ACPC_desc-brain_mask.nii.gz").get_fdata()
        for folder in (out, out.parent / "qsiprep")
    )
    np.testing.assert_array_equal(mask, given)
    confounds = "sub-01/dwi/sub-01_desc-confounds_timeseries.tsv"
    assert (out / confounds).read_text() == (out.parent / "qsiprep" / confounds).read_text()
    assert not list(out.rglob("*desc-preproc_dwi*"))


def test_the_page_says_whose_gradients_they_are(out):
    page = (out / "sub-01/figures/sub-01_desc-preprocessing_dwi.html").read_text()
    assert "nothing was resampled" in page
    assert "sub-01_space-ACPC_desc-preproc_dwi.b" in page
