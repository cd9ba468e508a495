"""From raw images to streamlines and the page, on a phantom small enough for a test."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_dilation

MODELS = ("csd", "shd-tv")


@pytest.fixture(scope="module")
def out(tiny_phantom_dir, tmp_path_factory) -> Path:
    """Run everything once, the network for a few steps only."""
    root = tmp_path_factory.mktemp("whole")
    command = [
        *(sys.executable, "-m", "shd_bids.cli.run", tiny_phantom_dir, root / "out", "participant"),
        *("-w", root / "work", "--fod-model", *MODELS, "--shd-steps", 20, "--lmax", 6),
        *("--n-streamlines", 100, "--max-angle-deg", 45, "--device", "cpu", "--omp-nthreads", 1),
    ]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().splitlines()[-1] == "shd-bids finished: 1 of 1 participant(s)."
    return root / "out"


def _image(out: Path, name: str) -> nib.Nifti1Image:
    return nib.load(out / f"sub-01/dwi/sub-01_space-orig_{name}.nii.gz")


@pytest.mark.parametrize("model", ["csd", "shdtv"])
def test_every_model_has_its_images_on_the_grid_of_the_input(out, tiny_phantom_dir, model):
    raw = nib.load(tiny_phantom_dir / "sub-01/dwi/sub-01_dwi.nii.gz")
    names = [f"param-{name}" for name in ("peaks", "afd", "nufo", "gfa", "rmse", "dec")]
    for name in [*names, "param-fod_label-WM", "param-fraction_label-WM"]:
        image = _image(out, f"model-{model}_{name}_dwimap")
        assert image.shape[:3] == raw.shape[:3]
        np.testing.assert_allclose(image.affine, raw.affine, atol=1e-4)
        if name != "param-peaks":  # there NaN says that there is no peak, as in MRtrix3
            assert np.isfinite(image.get_fdata()).all()


def test_all_names_of_the_design_are_there(out):
    found = {
        re.sub(r"^sub-01(_space-orig)?_", "", file.name) for file in (out / "sub-01/dwi").iterdir()
    }
    expected = {
        "desc-preproc_dwi.nii.gz",
        "desc-preproc_dwi.bval",
        "desc-preproc_dwi.bvec",
        "desc-brain_mask.nii.gz",
        "desc-confounds_timeseries.tsv",
        "desc-image_qc.tsv",
        "desc-slice_qc.json",
        "param-response_label-WM_dwimap.txt",
        "param-response_label-CSF_dwimap.txt",
        "model-shdtv_param-fod_label-CSF_dwimap.nii.gz",
        "model-shdtv_desc-weights_model.safetensors",
        "model-csd_track-probabilistic_tractogram.tck",
        "model-csd_param-tdi_dwimap.nii.gz",
    }
    assert expected <= found


def test_every_data_file_has_a_sidecar_that_says_what_it_was_made_from(out):
    folder = out / "sub-01/dwi"
    present = {f"bids::{file.relative_to(out).as_posix()}" for file in folder.iterdir()}
    for file in folder.iterdir():
        if file.suffix in (".json", ".bval", ".bvec"):
            continue
        sidecar = json.loads((folder / (file.name.split(".")[0] + ".json")).read_text())
        assert sidecar["Sources"], file.name
        own = {uri for uri in sidecar["Sources"] if uri.startswith("bids::")}
        assert own <= present, file.name


def test_the_verdict_on_the_gradients_stands_beside_the_series_and_its_measures(out):
    folder = out / "sub-01/dwi"
    for name in ("space-orig_desc-preproc_dwi", "desc-image_qc"):
        sidecar = json.loads((folder / f"sub-01_{name}.json").read_text())
        assert "fibre coherence" in sidecar["GradientCheck"]["Verdict"]
        assert "FSL's rule" in sidecar["GradientConventionReason"]
    header, row = (folder / "sub-01_desc-image_qc.tsv").read_text().splitlines()
    table = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    assert set(table) < set(sidecar)
    assert 0 <= float(table["t1_dice_distance"]) < 1


def test_the_sidecar_of_an_fodf_holds_its_basis_its_response_and_its_lobe(out):
    stem = "sub-01_space-orig_model-shdtv_param-fod_label-WM_dwimap"
    sidecar = json.loads((out / f"sub-01/dwi/{stem}.json").read_text())
    encoding = sidecar["OrientationEncoding"]
    assert encoding["SphericalHarmonicBasis"] == encoding["SphericalHarmonicsBasis"] == "mrtrix3"
    assert encoding["SphericalHarmonicDegree"] == 6
    assert len(sidecar["ResponseFunction"]["Coefficients"]) == 2
    assert len(sidecar["FibreLobe"]) == 4
    assert sidecar["RandomSeed"] == 0


def test_fractions_of_the_tissues_sum_to_one_in_the_mask(out):
    mask = _image(out, "desc-brain_mask").get_fdata() > 0
    total = sum(
        _image(out, f"model-shdtv_param-fraction_label-{tissue}_dwimap").get_fdata()
        for tissue in ("WM", "CSF")
    )
    inside = total[mask & (total > 0)]
    np.testing.assert_allclose(inside, 1.0, atol=1e-3)
    assert not total[~mask].any()


def test_streamlines_end_in_the_brain_and_leave_it_by_less_than_a_voxel(out):
    file = out / "sub-01/dwi/sub-01_space-orig_model-csd_track-probabilistic_tractogram.tck"
    streamlines = nib.streamlines.load(file).streamlines
    image = _image(out, "desc-brain_mask")
    mask = image.get_fdata() > 0
    world_to_vox = np.linalg.inv(image.affine)

    def share_in(volume, points):
        voxels = np.rint(points @ world_to_vox[:3, :3].T + world_to_vox[:3, 3]).astype(int)
        return volume[tuple(voxels.T)].mean()

    ends = np.concatenate([line[[0, -1]] for line in streamlines])
    assert share_in(mask, ends) == 1.0
    # between two voxels inside, the interpolated field can reach half a voxel (2 mm) outside
    assert share_in(binary_dilation(mask), streamlines.get_data()) == 1.0


def test_the_page_shows_every_figure_that_exists(out):
    page = (out / "sub-01.html").read_text()
    figures = sorted((out / "sub-01/figures").iterdir())
    for what in ("gradients", "mask", "denoising", "response", "fodf", "loss", "dec", "tracts"):
        assert any(f"desc-{what}_" in file.name for file in figures), what
    for file in figures:
        if file.suffix != ".html":
            assert file.name in page, file.name
    assert "No errors to report" in page


@pytest.mark.needs_tool("mrinfo")
def test_mrtrix3_reads_the_harmonics(out):
    file = out / "sub-01/dwi/sub-01_space-orig_model-shdtv_param-fod_label-WM_dwimap.nii.gz"
    size = subprocess.run(["mrinfo", "-size", file], capture_output=True, text=True, check=True)
    assert size.stdout.split() == ["18", "18", "14", "28"]
