"""The nodes that find the field: from a series and reverse images to field and corrected b=0."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dwi.distorted import add_noise, distort, sinus_field, true_head

from shd_bids.dwi.transforms import PhaseEncoding
from shd_bids.dwi.unringing import remove_gibbs_ringing
from shd_bids.errors import ConfigError, GradientTableError
from shd_bids.interfaces.distortion import EstimateField, PickB0, PlotDistortion

READOUT_S = 0.04


def run(node, folder):
    folder.mkdir(parents=True, exist_ok=True)
    return node.run(cwd=str(folder)).outputs


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    """Write a series along j and an image along j-, whose first axis is stored the other way."""
    folder = tmp_path_factory.mktemp("scan")
    head, mask, affine = true_head()
    field = sinus_field(head.shape, affine)
    images = [
        add_noise(distort(head, field, PhaseEncoding(1, sign, READOUT_S), affine), 30.0, sign + 1)
        for sign in (1, -1)
    ]
    dwi = np.stack([images[0], 0.3 * images[0], images[0]], axis=-1)
    nib.Nifti1Image(dwi, affine).to_filename(folder / "dwi.nii")
    (folder / "dwi.b").write_text("0 0 0 0\n1 0 0 1000\n0 0 0 5\n")
    flipped = affine @ np.diag([-1, 1, 1, 1])
    flipped[:3, 3] = affine[:3, 3] + (head.shape[0] - 1) * affine[:3, 0]
    reverse = np.stack([0.2 * images[1], images[1]], axis=-1)[::-1]
    nib.Nifti1Image(reverse, flipped).to_filename(folder / "epi.nii")
    (folder / "epi.bval").write_text("1000 0\n")
    return folder, images, field, mask


def pick(folder, **changes):
    settings = {
        "dwi_file": folder / "dwi.nii",
        "gradients_file": folder / "dwi.b",
        "b0_threshold": 100.0,
        "reverse_files": [folder / "epi.nii"],
        "reverse_bval_files": [str(folder / "epi.bval")],
        "reverse_encodings": [(1, -1, READOUT_S)],
        "phase_encodings": [(1, 1, READOUT_S)] * 3,
    }
    return PickB0(**settings | changes)


@pytest.fixture(scope="module")
def picked(scanned, tmp_path_factory):
    return run(pick(scanned[0]), tmp_path_factory.mktemp("pick"))


@pytest.fixture(scope="module")
def found(picked, tmp_path_factory):
    node = EstimateField(
        b0_files=picked.b0_files, phase_encodings=picked.b0_encodings, method="reverse-phase"
    )
    return run(node, tmp_path_factory.mktemp("field"))


def test_b0_images_come_on_the_grid_of_the_series(picked, scanned):
    _, images, _, _ = scanned
    for file, image in zip(picked.b0_files, images, strict=True):
        assert np.allclose(nib.load(file).get_fdata(), image, atol=1.0)
    assert picked.b0_encodings == [(1, 1, READOUT_S), (1, -1, READOUT_S)]


def test_images_beside_the_series_are_unrung_as_it_was(scanned, tmp_path):
    folder, (own, other), _, _ = scanned
    picked = run(pick(folder, slice_axis=2), tmp_path)
    expected = own, remove_gibbs_ringing(other[..., None])[..., 0]
    for file, image in zip(picked.b0_files, expected, strict=True):
        assert np.mean(np.abs(nib.load(file).get_fdata() - image) > 1.0) < 1e-3  # but for ties
    assert np.mean(np.abs(expected[1] - other) > 1.0) > 0.5


def test_a_reverse_series_without_b0_is_refused(scanned, tmp_path):
    (tmp_path / "epi.bval").write_text("1000 1000\n")
    with pytest.raises(GradientTableError, match="2 b-values, 0 of them b=0"):
        run(pick(scanned[0], reverse_bval_files=[str(tmp_path / "epi.bval")]), tmp_path)


def test_field_displacement_and_summary_agree(found, scanned):
    _, _, field, mask = scanned
    estimated = nib.load(found.fieldmap_file).get_fdata()
    assert np.sqrt(np.mean((estimated - field)[mask] ** 2) / np.mean(field[mask] ** 2)) < 0.15
    displacement = nib.load(found.displacement_file).get_fdata()
    assert np.allclose(displacement, estimated * READOUT_S * 3.0, atol=1e-4)
    inside = nib.load(found.mask_file).get_fdata() > 0
    largest = np.abs(displacement[inside]).max()
    assert found.measures["max_displacement_mm"] == pytest.approx(largest, rel=1e-5)
    assert found.measures["difference_after"] < 0.4 * found.measures["difference_before"]
    assert "readout time not known" not in found.found["Distortion"]


def test_a_series_of_both_phase_encodings_needs_no_other_image(scanned, tmp_path):
    _, images, _, _ = scanned
    both = [(1, 1, READOUT_S), (1, 1, READOUT_S), (1, -1, READOUT_S)]
    none = {"reverse_files": [], "reverse_bval_files": [], "reverse_encodings": []}
    picked = run(pick(scanned[0], phase_encodings=both, **none), tmp_path)
    assert picked.b0_encodings == [both[0], both[2]]
    assert np.allclose(nib.load(picked.b0_files[1]).get_fdata(), images[0], atol=1.0)


def test_the_correction_is_pictured(found, picked, tmp_path):
    node = PlotDistortion(
        b0_files=picked.b0_files,
        corrected_files=found.corrected_files,
        phase_encodings=found.phase_encodings,
        fieldmap_file=found.fieldmap_file,
        mask_file=found.mask_file,
    )
    picture = Path(run(node, tmp_path).out_files["distortion"])
    assert picture.read_text().startswith("<svg")


def test_topup_that_is_not_there_is_asked_for_by_its_flag(picked, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    node = EstimateField(
        b0_files=picked.b0_files, phase_encodings=picked.b0_encodings, method="topup"
    )
    with pytest.raises(ConfigError, match="--sdc topup needs"):
        run(node, tmp_path / "node")
