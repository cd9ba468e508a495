"""Which scans are in a study, which are not and why, and which belong together."""

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from shd_workflows.group_scans import StudyScans, collect_scans, find_participants, sort_by_kind
from workflows.study_tree import MULTI, write_dataset, write_participant

from shd_bids.bids.files import write_json
from shd_bids.config import ExecutionConfig, PreprocConfig


@pytest.fixture
def execution(tmp_path: Path) -> ExecutionConfig:
    bids_dir = write_dataset(tmp_path / "bids", "raw")
    out = write_dataset(tmp_path / "out", "derivative")
    for label in ("01", "02", "03", "04"):
        (bids_dir / f"sub-{label}").mkdir()
    write_participant(out, "01")
    write_participant(out, "02", session="a")
    write_participant(out, "02", session="b")
    write_participant(out, "03")
    return ExecutionConfig(bids_dir, out, "group", work_dir=tmp_path / "work")


def _collect(execution: ExecutionConfig) -> StudyScans:
    return collect_scans(execution, PreprocConfig(), find_participants(execution), {})


def test_every_series_is_found_and_who_was_not_run_is_named(execution: ExecutionConfig) -> None:
    found = _collect(execution)
    names = [scan.name for scan in found.scans]
    assert names == ["sub-01", "sub-02_ses-a", "sub-02_ses-b", "sub-03"]
    assert list(found.left_out) == ["sub-04"]
    assert "the participant level was not run" in found.left_out["sub-04"]


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("desc-brain_mask.nii.gz", "desc-brain_mask.nii.gz is missing. Run the participant level"),
        ("param-response_label-WM_dwimap.txt", "label-WM_dwimap.txt is missing"),
        ("desc-preproc_dwi.nii.gz", "it has no preprocessed series"),
        ("desc-preproc_dwi.bvec", "has no gradient table"),
    ],
)
def test_a_participant_that_lacks_something_is_left_out_with_what_it_lacks(
    execution: ExecutionConfig, lost: str, message: str
) -> None:
    (execution.output_dir / f"sub-01/dwi/sub-01_space-orig_{lost}").unlink()
    found = _collect(execution)
    assert len(found.scans) == 3
    assert message in found.left_out["sub-01"]


def test_responses_that_were_given_are_not_averaged(execution: ExecutionConfig) -> None:
    folder = execution.output_dir / "sub-01/dwi"
    own = folder / "sub-01_space-orig_param-response_label-WM_dwimap.txt"
    own.rename(folder / "sub-01_space-orig_param-response_label-WM_desc-given_dwimap.txt")
    assert "without --response" in _collect(execution).left_out["sub-01"]


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("param-response_label-WM_dwimap.txt", r"0,1000\n(.*)\n.*", r"0\n\1", "b = 0, but its"),
        ("param-response_label-CSF_dwimap.txt", r"\n[\d.]+\n$", "\nhello\n", "is not a response"),
        ("param-response_label-CSF_dwimap.txt", r"\n[\d.]+\n$", "\n0\n", "is not positive"),
        ("desc-preproc_dwi.bval", r" \S+ \S+\s*$", "", "b-values"),
        ("desc-preproc_dwi.bval", r"1000", "2000", "its series b = 0, 2000"),
    ],
)
def test_what_would_stop_the_average_is_left_out_before(
    execution: ExecutionConfig, name: str, old: str, new: str, message: str
) -> None:
    file = execution.output_dir / f"sub-01/dwi/sub-01_space-orig_{name}"
    changed, n_change = re.subn(old, new, file.read_text())
    file.write_text(changed)
    assert n_change
    found = _collect(execution)
    assert len(found.scans) == 3
    assert message in found.left_out["sub-01"]


def test_a_mask_of_another_grid_is_left_out(execution: ExecutionConfig) -> None:
    file = execution.output_dir / "sub-01/dwi/sub-01_space-orig_desc-brain_mask.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((5, 5, 5), dtype=np.uint8), np.eye(4)), file)
    assert "has the shape (5, 5, 5)" in _collect(execution).left_out["sub-01"]


def test_a_series_that_lost_the_response_of_a_tissue_is_no_kind_of_its_own(
    execution: ExecutionConfig,
) -> None:
    stem = write_participant(execution.output_dir, "04", bvals=MULTI)  # without grey matter
    assert _collect(execution).scans[-1].responses.keys() == {"WM", "CSF"}
    write_json(
        Path(f"{stem}_param-response_label-WM_dwimap.json"), {"Settings": {"NumberOfVoxels": 300}}
    )
    assert "label-GM_dwimap.txt is missing" in _collect(execution).left_out["sub-04"]


def test_a_thousand_series_do_not_hide_what_matters(
    execution: ExecutionConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    _collect(execution)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "sub-04 is left out" in caplog.text


def test_a_damaged_image_is_left_out(execution: ExecutionConfig) -> None:
    (execution.output_dir / "sub-03/dwi/sub-03_space-orig_desc-preproc_dwi.nii.gz").write_bytes(b"")
    assert "has zero bytes" in _collect(execution).left_out["sub-03"]


def test_series_that_were_preprocessed_before_are_taken_from_where_they_are(
    execution: ExecutionConfig, tmp_path: Path
) -> None:
    given = write_dataset(tmp_path / "qsiprep", "derivative")
    write_participant(given, "01")
    for kind in ("nii.gz", "bval", "bvec"):
        (execution.output_dir / f"sub-01/dwi/sub-01_space-orig_desc-preproc_dwi.{kind}").unlink()
    elsewhere = ExecutionConfig(
        execution.bids_dir,
        execution.output_dir,
        "group",
        derivatives={"qsiprep": given},
        participant_labels=("01",),
        work_dir=execution.work_dir,
    )
    (scan,) = _collect(elsewhere).scans
    assert scan.dwi_file.is_relative_to(given)
    assert scan.mask_file.is_relative_to(execution.output_dir)


def test_scans_of_other_shells_are_another_kind(execution: ExecutionConfig) -> None:
    assert [kind.folder for kind in sort_by_kind(_collect(execution).scans)] == ["group"]
    write_participant(execution.output_dir, "04", bvals=MULTI)
    kinds = sort_by_kind(_collect(execution).scans)
    assert [kind.folder for kind in kinds] == ["group/b0-1000", "group/b0-1000-2500"]
    assert [len(kind.scans) for kind in kinds] == [4, 1]
