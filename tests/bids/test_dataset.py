"""Only what was asked for is indexed, and the input is never written to."""

import json
from pathlib import Path

import pytest
from bids.layout import Query

from shd_bids.bids.dataset import open_layout, read_filter_file, select_participants
from shd_bids.errors import BidsDataError, ConfigError

TREE = {
    "01": ["sub-01_ses-a", "sub-01_ses-b"],
    "02": ["sub-02_ses-a"],
    "011": ["sub-011_ses-a"],
}


@pytest.fixture
def bids_dir(make_skeleton) -> Path:
    root = make_skeleton(TREE)
    derivative = root / "derivatives" / "other" / "sub-01" / "dwi"
    derivative.mkdir(parents=True)
    (derivative / "sub-01_desc-preproc_dwi.nii.gz").touch()
    return root


def names(layout) -> list[str]:
    return sorted(Path(file).name for file in layout.get(extension=".nii.gz", return_type="file"))


def listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(file), file.stat().st_mtime_ns) for file in folder.rglob("*"))


def test_all_participants_are_meant_when_none_is_named(bids_dir):
    assert select_participants(bids_dir, []) == ["01", "011", "02"]


def test_labels_may_carry_their_prefix(bids_dir):
    assert select_participants(bids_dir, ["sub-02", "01", "02"]) == ["02", "01"]


def test_an_unknown_participant_is_answered_with_those_that_exist(bids_dir):
    with pytest.raises(BidsDataError, match=r"No participant 99 in .* It holds 3: 01, 011, 02\."):
        select_participants(bids_dir, ["99", "01"])


def test_a_folder_without_description_is_refused(tmp_path):
    with pytest.raises(BidsDataError, match=r"holds no dataset_description.json"):
        select_participants(tmp_path, [])


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(BidsDataError, match=r"There is no folder .*nowhere"):
        select_participants(tmp_path / "nowhere", [])


def test_a_dataset_without_participants_is_refused(make_skeleton):
    with pytest.raises(BidsDataError, match=r"holds no participants: searched for .* sub-\*"):
        select_participants(make_skeleton({}), [])


def test_a_description_that_is_not_json_is_refused(bids_dir):
    (bids_dir / "dataset_description.json").write_text("{")
    with pytest.raises(BidsDataError, match=r"dataset_description.json is not JSON"):
        select_participants(bids_dir, [])


def test_only_the_participants_asked_for_are_indexed(bids_dir):
    layout = open_layout(bids_dir, participant_labels=["sub-01"])
    assert names(layout) == ["sub-01_ses-a_dwi.nii.gz", "sub-01_ses-b_dwi.nii.gz"]


def test_only_the_sessions_asked_for_are_indexed(bids_dir):
    layout = open_layout(bids_dir, participant_labels=["01"], session_labels=["ses-b"])
    assert names(layout) == ["sub-01_ses-b_dwi.nii.gz"]


def test_an_unknown_session_is_answered_with_those_that_exist(bids_dir):
    with pytest.raises(BidsDataError, match=r"No session c of participant 01 .* Found: a, b\."):
        open_layout(bids_dir, participant_labels=["01"], session_labels=["c"])


def test_the_input_is_not_written_to(bids_dir, tmp_path):
    before = listing(bids_dir)
    open_layout(bids_dir, participant_labels=[])
    open_layout(bids_dir, participant_labels=[], database_dir=tmp_path / "database")
    assert listing(bids_dir) == before


def test_a_database_is_used_again(bids_dir, tmp_path):
    kept = {"participant_labels": ["01"], "database_dir": tmp_path / "database"}
    open_layout(bids_dir, **kept)
    (bids_dir / "sub-01" / "ses-b" / "dwi" / "sub-01_ses-b_dwi.nii.gz").unlink()
    assert len(names(open_layout(bids_dir, **kept))) == 2  # as indexed, not as it is now


def test_a_database_of_all_serves_one(bids_dir, tmp_path):
    open_layout(bids_dir, participant_labels=[], database_dir=tmp_path / "database")
    open_layout(bids_dir, participant_labels=["02"], database_dir=tmp_path / "database")
    assert len(list((tmp_path / "database").glob("*/selection.json"))) == 1


def test_a_database_of_others_is_not_used(bids_dir, tmp_path):
    database_dir = tmp_path / "database"
    open_layout(bids_dir, participant_labels=["01"], database_dir=database_dir)
    layout = open_layout(bids_dir, participant_labels=["02"], database_dir=database_dir)
    assert names(layout) == ["sub-02_ses-a_dwi.nii.gz"]


def test_a_database_of_one_session_does_not_serve_all(bids_dir, tmp_path):
    kept = {"participant_labels": ["01"], "database_dir": tmp_path / "database"}
    open_layout(bids_dir, session_labels=["a"], **kept)
    assert len(names(open_layout(bids_dir, **kept))) == 2


def test_filters_are_read_in_the_format_of_fmriprep(tmp_path):
    file = tmp_path / "filters.json"
    content = {"dwi": {"acquisition": "hi", "run": None, "direction": "Query.ANY"}, "bold": {}}
    file.write_text(json.dumps(content))
    expected = {"dwi": {"acquisition": "hi", "run": Query.NONE, "direction": Query.ANY}}
    assert read_filter_file(file) == expected


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), ("[]", "an object of objects")]
)
def test_a_bad_filter_file_is_refused(tmp_path, text, message):
    file = tmp_path / "filters.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=f"--bids-filter-file: .*{message}"):
        read_filter_file(file)
