"""Which scans are in a study, which are not and why, and which belong together."""

from pathlib import Path

import pytest
from shd_workflows.group_scans import StudyScans, collect_scans, find_participants, sort_by_kind
from workflows.study_tree import MULTI, write_dataset, write_participant

from shd_bids.config import ExecutionConfig


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
    return collect_scans(execution, find_participants(execution), {})


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
