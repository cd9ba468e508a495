"""Correcting nodes keep grid and table; the check says what it found in words, numbers and HTML."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shd_bids.dwi.gradients import read_mrtrix_gradients
from shd_bids.dwi.orientation import AXIS_CHANGES, OrientationCheck
from shd_bids.interfaces import corrections
from shd_bids.interfaces.corrections import CheckOrientation, CorrectBias, UnringDwi
from shd_bids.interfaces.nifti import read_array, read_mask
from shd_bids.interfaces.preproc import EstimateMask, MergeRuns


def _outputs(node, folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    return node.run(cwd=str(folder)).outputs


@pytest.fixture(scope="module")
def series(tiny_phantom_dir, tmp_path_factory):
    stem = tiny_phantom_dir / "sub-01/dwi/sub-01_dwi"
    node = MergeRuns(
        dwi_files=[f"{stem}.nii.gz"],
        bval_files=[f"{stem}.bval"],
        bvec_files=[f"{stem}.bvec"],
        phases=["j-"],
        b0_threshold=100.0,
    )
    merged = _outputs(node, tmp_path_factory.mktemp("merge"))
    files = {"dwi_file": merged.dwi_file, "gradients_file": merged.gradients_file}
    return files | {"b0_threshold": 100.0, "shell_tolerance": 80.0}


@pytest.fixture(scope="module")
def mask_file(series, tmp_path_factory):
    node = EstimateMask(method="median-otsu", **series)
    return _outputs(node, tmp_path_factory.mktemp("mask")).mask_file


def test_unringing_keeps_grid_and_threads_do_not_change_the_hash(series, tmp_path):
    short = nib.load(series["dwi_file"]).slicer[..., :2]
    short.to_filename(tmp_path / "short.nii")
    nodes = [UnringDwi(dwi_file=str(tmp_path / "short.nii"), n_threads=n) for n in (1, 4)]
    assert nodes[0].inputs.get_hashval()[1] == nodes[1].inputs.get_hashval()[1]
    unrung = nib.load(_outputs(nodes[0], tmp_path / "unring").dwi_file)
    assert unrung.shape == short.shape
    assert np.abs(unrung.get_fdata() - short.get_fdata()).max() > 0


def test_bias_times_the_corrected_series_is_the_series(series, mask_file, tmp_path):
    out = _outputs(CorrectBias(mask_file=mask_file, **series), tmp_path / "bias")
    field = read_array(out.bias_file)
    assert field[read_mask(mask_file)].mean() == pytest.approx(1, abs=1e-3)
    product = read_array(out.dwi_file) * field[..., None]
    np.testing.assert_allclose(product, read_array(series["dwi_file"]), rtol=1e-4)


def test_the_orientation_check_lists_all_24_tables_and_leaves_the_given_one(
    series, mask_file, tmp_path
):
    before = read_mrtrix_gradients(Path(series["gradients_file"])).bvecs_ras
    out = _outputs(CheckOrientation(mask_file=mask_file, **series), tmp_path / "check")
    assert out.ok
    assert out.measures["gradient_check"] >= 0
    assert out.fields["Verdict"] == out.verdict
    assert out.fields["BestOther"]["FibreCoherence"] == out.measures["gradient_coherence_other"]
    header, *rows = Path(out.table_file).read_text().splitlines()
    assert header.split("\t") == ["bvec_rows", "coherence", "lead"]
    assert len(rows) == len(AXIS_CHANGES)
    assert rows[0].startswith("x, y, z\t")
    html = Path(out.out_files["orientation"]).read_text()
    assert out.verdict in html
    assert "(as given)" in html
    after = read_mrtrix_gradients(Path(series["gradients_file"])).bvecs_ras
    np.testing.assert_array_equal(before, after)


def test_a_wrong_table_is_an_alarm_on_the_page(series, mask_file, tmp_path, monkeypatch):
    coherence = np.linspace(0.5, 0.3, 24)
    coherence[2] = 0.7
    found = OrientationCheck(coherence, (0.5 - coherence) * 40, ("x, -y, z",) * 24, 5000, 300)
    monkeypatch.setattr(corrections, "check_orientation", lambda *_: found)
    out = _outputs(CheckOrientation(mask_file=mask_file, **series), tmp_path / "check")
    assert not out.ok
    html = Path(out.out_files["orientation"]).read_text()
    assert "alert-danger" in html
    assert "DO NOT FIT" in html
