"""A study is known by the names of its files, and by what its last runs were asked for."""

import shutil
from pathlib import Path

import pytest

from shd_bids.bids.study import State, read_study
from shd_bids.errors import BidsDataError
from shd_bids.testing.study import CRASH, write_study


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Write ten participants, of whom 3 failed, 7 was cut off and 9 was never run."""
    return write_study(tmp_path_factory.mktemp("study"), 10)


@pytest.fixture
def one(tmp_path) -> Path:
    """Write one participant that finished."""
    return write_study(tmp_path, 1)


def _only(output_dir: Path):
    (participant,) = read_study(output_dir).participants
    return participant


def _delete(output_dir: Path, pattern: str) -> None:
    found = list((output_dir / "sub-0001").rglob(pattern))
    assert found
    for file in found:
        file.unlink()


def _ask(output_dir: Path, old: str, new: str) -> None:
    (file,) = output_dir.rglob("shd-bids.toml")
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_everyone_of_the_input_is_in_one_state(whole):
    labels = [f"{number:04d}" for number in range(1, 11)]
    study = read_study(whole, labels)
    states = {one.label: one.state for one in study.participants}
    assert list(states) == labels
    assert states["0003"] is State.FAILED
    assert states["0007"] is State.INCOMPLETE
    assert states["0009"] is State.NOT_PROCESSED
    assert {states[label] for label in set(labels) - {"0003", "0007", "0009"}} == {State.FINISHED}


def test_without_labels_all_that_have_a_folder_are_listed(whole):
    assert [one.label for one in read_study(whole).participants] == [
        f"{number:04d}" for number in range(1, 11) if number != 9
    ]


def test_only_the_participants_asked_for_are_listed(whole):
    study = read_study(whole, ["sub-0002", "0005"])
    assert [one.label for one in study.participants] == ["0002", "0005"]
    assert len(study.series) == 2


def test_a_folder_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(BidsDataError, match="nowhere"):
        read_study(tmp_path / "nowhere")


def test_the_crash_files_of_the_last_run_are_found(whole):
    (failed,) = read_study(whole, ["0003"]).participants
    (crash_file,) = failed.last_run.crash_files
    assert CRASH in crash_file.read_text()


def test_who_succeeded_after_a_failure_has_finished(one):
    (log_dir,) = (one / "sub-0001/log").iterdir()
    earlier = log_dir.with_name("20250101-120000_earlier")
    shutil.copytree(log_dir, earlier)
    (earlier / "crash-x.txt").write_text("Node: x")
    assert _only(one).state is State.FINISHED
    (log_dir / "crash-x.txt").write_text("Node: x")
    assert _only(one).state is State.FAILED


def test_a_run_that_wrote_pages_only_does_not_hide_the_run_before(one):
    (log_dir,) = (one / "sub-0001/log").iterdir()
    later = log_dir.with_name("20270101-120000_later")
    later.mkdir()
    (later / "shd-bids.toml").write_text('[execution]\nreports_only = true\nlevel = "preproc"\n')
    _delete(one, "*_tractogram.tck")
    assert _only(one).missing == {"sub-0001": ["tractogram (tck)"]}


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("*_desc-preproc_dwi.nii.gz", "preprocessed series"),
        ("*_desc-brain_mask.nii.gz", "brain mask"),
        ("*_desc-image_qc.tsv", "measures (image_qc)"),
        ("*_timeseries.tsv", "confounds"),
        ("*_param-response_label-WM_dwimap.txt", "response (WM)"),
        ("*_model-csd_param-fod_label-WM_dwimap.nii.gz", "fod (csd)"),
        ("*_model-csd_param-fraction_label-WM_dwimap.nii.gz", "fractions (csd)"),
        ("*_model-shdtv_param-rmse_dwimap.nii.gz", "maps (shdtv: rmse)"),
        ("*.safetensors", "network weights (shdtv)"),
        ("*_tractogram.tck", "tractogram (tck)"),
        ("*_param-tdi_*.nii.gz", "track density"),
    ],
)
def test_what_is_missing_is_named(one, pattern, what):
    assert _only(one).state is State.FINISHED
    _delete(one, pattern)
    assert _only(one).missing == {"sub-0001": [what]}
    assert _only(one).state is State.INCOMPLETE


def test_a_missing_page_is_named(one):
    (one / "sub-0001.html").unlink()
    assert _only(one).missing == {"sub-0001": ["report page"]}


@pytest.mark.parametrize(
    ("level", "kept"),
    [("preproc", "mask|timeseries|qc"), ("response", "response"), ("fod", "model")],
)
def test_nothing_is_expected_beyond_the_level_of_the_run(one, level, kept):
    _ask(one, 'level = "full"', f'level = "{level}"')
    _delete(one, "*track-*")
    if level != "fod":
        _delete(one, "*_model-*")
    if level == "preproc":
        _delete(one, "*_param-response_*")
    assert _only(one).state is State.FINISHED


def test_atlases_spaces_and_weights_that_were_asked_for_are_expected(one):
    _ask(one, "atlases = []", 'atlases = ["Schaefer2018:desc-400Parcels7Networks"]')
    _ask(one, '"dwi",', '"dwi", "T1w:res-2",')
    _ask(one, 'streamline_weights = "auto"', 'streamline_weights = "sift2"')
    assert _only(one).missing == {
        "sub-0001": ["maps in T1w", "atlases (1 of 1)", "streamline weights"]
    }
    stem = one / "sub-0001/dwi/sub-0001_space-orig_seg-Schaefer2018_dseg.nii.gz"
    stem.write_bytes(b"")
    assert "connectome (Schaefer2018)" in _only(one).missing["sub-0001"]


def test_either_model_may_stand_beside_the_network_where_none_was_named(one):
    _ask(one, '    "shd-tv",\n    "csd",\n', "")
    assert _only(one).state is State.FINISHED
    _delete(one, "*_model-csd_*")
    assert _only(one).missing == {"sub-0001": ["fod (csd or msmtcsd)"]}


def test_a_series_that_came_preprocessed_is_not_expected_again(one):
    _delete(one, "*_desc-preproc_dwi.*")
    _delete(one, "*_dwiref.nii.gz")
    assert _only(one).state is State.FINISHED


def test_settings_that_cannot_be_read_say_nothing_is_missing(one):
    (file,) = one.rglob("shd-bids.toml")
    file.write_text("[execution")
    _delete(one, "*_tractogram.tck")
    assert _only(one).state is State.FINISHED


def test_series_are_told_apart_by_their_source_and_not_by_space(tmp_path):
    output_dir = write_study(tmp_path, 1, acquisitions=("multi", "single"), sessions=("a", "b"))
    folder = output_dir / "sub-0001/ses-a/dwi"
    name = "sub-0001_ses-a_acq-multi_space-T1w_desc-brain_mask.nii.gz"
    (folder / name).write_bytes(b"")
    (folder / "notes.txt").write_text("no BIDS name")
    series = _only(output_dir).series
    assert [one.stem for one in series] == [
        f"sub-0001_ses-{session}_acq-{acquisition}"
        for session in "ab"
        for acquisition in ("multi", "single")
    ]
    assert {one.space for one in series} == {"orig"}
    assert len(series[0].find("mask", ".nii.gz", desc="brain")) == 2
    assert series[0].models == ["csd", "shdtv"]


def test_a_session_that_was_asked_for_and_left_nothing_is_named(tmp_path):
    output_dir = write_study(tmp_path, 1, sessions=("a",))
    _ask(output_dir, "session_labels = []", 'session_labels = ["a", "ses-b"]')
    assert _only(output_dir).missing == {"sub-0001": ["session b"]}
