"""A place in the output is one run's at a time, whichever work directory the runs have."""

import threading
import time
from contextlib import ExitStack

import pytest
from shd_workflows.holds import hold_group_output, hold_outputs

from shd_bids.bids.files import LOCK_NAME
from shd_bids.bids.locks import hold_lock
from shd_bids.errors import OutputError


def test_a_participant_is_held_and_others_are_not(tmp_path):
    with hold_outputs(tmp_path, ["01", "02"]):
        with hold_outputs(tmp_path, ["03"]):
            pass
        with (
            pytest.raises(OutputError, match=r"at work on participant 02 in .*another output"),
            hold_outputs(tmp_path, ["03", "02"]),
        ):
            pass
        with hold_outputs(tmp_path, ["03"]), hold_group_output(tmp_path):
            pass


def test_sessions_share_a_participant_but_not_a_session(tmp_path, monkeypatch):
    monkeypatch.setattr("shd_workflows.holds._PATIENCE_S", 0.1)
    with hold_outputs(tmp_path, ["01"], ["a"]), hold_outputs(tmp_path, ["01"], ["b"]):
        for sessions, words in (
            (["b", "c"], "session b of participant 01"),
            ([], "participant 01"),
        ):
            with (
                pytest.raises(OutputError, match=f"at work on {words}"),
                hold_outputs(tmp_path, ["01"], sessions),
            ):
                pass
    with (
        hold_outputs(tmp_path, ["01"]),
        pytest.raises(OutputError, match="at work on participant 01"),
        hold_outputs(tmp_path, ["01"], ["a"]),
    ):
        pass


def test_there_is_one_run_of_the_group_level(tmp_path):
    with (
        hold_group_output(tmp_path),
        pytest.raises(OutputError, match="at work on the group level"),
        hold_group_output(tmp_path),
    ):
        pass


def test_who_holds_a_place_removes_what_a_killed_run_left_there(tmp_path):
    places = {
        "sub-01/dwi/.sub-01_dwi.nii.gz.x1.part": [["01"], []],
        ".sub-01.html.x1.part": [["01"], []],
        "sub-01/ses-a/dwi/.sub-01_ses-a_dwi.nii.gz.x1.part": [["01"], ["a"]],
    }
    for path, (labels, sessions) in places.items():
        for name in (path, "sub-02/.of-another.x1.part", ".sub-02.html.x1.part"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        with hold_outputs(tmp_path, labels, sessions):
            assert {file.name for file in tmp_path.rglob("*.part")} == {
                ".of-another.x1.part",
                ".sub-02.html.x1.part",
            }


@pytest.mark.parametrize("sessions", [[], ["a"]])
def test_what_a_step_leaves_that_a_signal_ends_is_removed_with_the_run(tmp_path, sessions):
    file = tmp_path / "sub-01/dwi/.sub-01_dwi.nii.gz.x1.part"
    file.parent.mkdir(parents=True)

    def run():
        with hold_outputs(tmp_path, ["01"], sessions):
            file.touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert not file.exists()


def test_what_another_session_is_writing_stays(tmp_path):
    with ExitStack() as stack:
        stack.enter_context(hold_outputs(tmp_path, ["01"], ["a"]))
        file = tmp_path / "sub-01/ses-a/dwi/.sub-01_ses-a_dwi.nii.gz.x1.part"
        file.parent.mkdir(parents=True)
        file.touch()
        with hold_outputs(tmp_path, ["01"], ["b"]):
            assert file.exists()
        assert file.exists()


def test_a_run_of_another_session_that_looks_for_leftovers_is_waited_for(tmp_path):
    lock = tmp_path / "sub-01/log" / LOCK_NAME
    is_held = threading.Event()

    def clean() -> None:
        with hold_lock(lock):
            is_held.set()
            time.sleep(0.5)

    other = threading.Thread(target=clean)
    other.start()
    is_held.wait()
    with hold_outputs(tmp_path, ["01"], ["a"]):
        other.join()
