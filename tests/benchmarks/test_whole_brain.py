"""The whole-brain benchmark, on a phantom of a few hundred voxels."""

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks.child import run_measured
from benchmarks.scan import load_scan
from benchmarks.whole_brain import compare, extrapolate, main
from shd_bids.deconvolution.presets import get_preset
from shd_bids.errors import BidsDataError


def _stem(bids_dir: Path) -> str:
    return str(bids_dir / "sub-01/dwi/sub-01_dwi")


def test_a_dataset_and_its_files_are_the_same_scan(tiny_phantom_dir: Path):
    stem = _stem(tiny_phantom_dir)
    one = load_scan([tiny_phantom_dir])
    two = load_scan([Path(f"{stem}.nii.gz"), Path(f"{stem}.bval"), Path(f"{stem}.bvec")])
    np.testing.assert_array_equal(one.dwi, two.dwi)
    np.testing.assert_array_equal(one.mask, two.mask)
    assert list(one.responses) == ["WM", "CSF"]


def test_a_mask_that_is_given_is_taken(tiny_phantom_dir: Path):
    stem = _stem(tiny_phantom_dir)
    folder = tiny_phantom_dir / "derivatives/truth/sub-01/dwi"
    mask_file = next(folder.glob("*_desc-brain_mask.nii.gz"))
    files = [Path(f"{stem}.nii.gz"), Path(f"{stem}.bval"), Path(f"{stem}.bvec"), mask_file]
    mask = np.asarray(nib.load(mask_file).dataobj) > 0
    np.testing.assert_array_equal(load_scan(files).mask, mask)


def test_half_a_scan_is_refused(tmp_path: Path):
    with pytest.raises(BidsDataError, match=r"Got 2 paths; expected the folder of a BIDS dataset"):
        load_scan([tmp_path / "dwi.nii", tmp_path / "dwi.bval"])


def test_a_child_is_measured_with_its_own_children(tmp_path: Path):
    hold = "import time; x = bytearray(100 << 20); time.sleep(1.5)"
    start_two = f"import subprocess, sys; c = [sys.executable, '-c', {hold!r}]; "
    start_two += "[p.wait() for p in [subprocess.Popen(c), subprocess.Popen(c)]]"
    outcome = run_measured([sys.executable, "-c", start_two], tmp_path / "log")
    assert outcome.exit_code == 0
    assert outcome.seconds > 1.5
    assert 200 < outcome.peak_memory_mib < 300


def test_a_child_that_fails_leaves_its_last_words(tmp_path: Path):
    outcome = run_measured([sys.executable, "-c", "raise SystemExit('no luck')"], tmp_path / "log")
    assert outcome.exit_code == 1
    assert outcome.last_words == "no luck"


def test_one_record_extrapolates_in_proportion():
    assert extrapolate([5], [10.0], 50) == 100.0


def test_ratios_are_to_the_peers_that_ran():
    rows = [
        {"model": "mrtrix-csd", "total_s": 10.0},
        {"model": "shd-tv", "total_s": 25.0},
        {"model": "csd", "failed": "no luck"},
    ]
    peer, ours, failed = compare(rows)
    assert ours["x mrtrix-csd"] == 2.5
    assert "x csd" not in ours
    assert peer == rows[0]
    assert failed == rows[2]


def test_the_command_measures_presets_and_peers(
    tiny_phantom_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    files = ["--json", str(tmp_path / "w.json"), "--figure", str(tmp_path / "w.png")]
    short = ["--presets", "fast", "--peers", "csd", "--extrapolate-from", "4", "--threads", "1"]
    main([str(tiny_phantom_dir), *short, "--device", "cpu", *files])
    assert "Whole brain of" in capsys.readouterr().out
    csd, ours = json.loads((tmp_path / "w.json").read_text())["rows"]
    assert csd["model"] == "csd"
    assert csd["voxels_per_s"] > 0
    assert (ours["n_step"], ours["n_step_measured"], ours["extrapolated"]) == (
        get_preset("fast").steps,
        4,
        True,
    )
    assert ours["training_s"] > 10 * ours["prediction_s"] > 0
    assert ours["total_s"] > ours["training_s"]
    assert ours["x csd"] == pytest.approx(ours["total_s"] / csd["total_s"])
    assert ours["peak_memory_mib"] > 100
    assert (tmp_path / "w.png").stat().st_size > 1000


@pytest.mark.needs_tool("dwi2fod")
def test_mrtrix_is_measured_from_the_same_files(tiny_phantom_dir: Path, tmp_path: Path):
    peers = ["--peers", "mrtrix-csd", "mrtrix-msmt-csd", "--presets"]
    main([str(tiny_phantom_dir), *peers, "--json", str(tmp_path / "w.json")])
    rows = json.loads((tmp_path / "w.json").read_text())["rows"]
    assert [row["model"] for row in rows] == ["mrtrix-csd", "mrtrix-msmt-csd"]
    assert all(row["voxels_per_s"] > 0 for row in rows)
    assert "x mrtrix-csd" in rows[1]
