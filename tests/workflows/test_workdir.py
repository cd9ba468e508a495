"""A work directory is resumed only by its own version and dataset, and never shared."""

import errno
import json
import os
import shutil
import subprocess
import sys

import pytest
from shd_workflows.usage import StepUse
from shd_workflows.workdir import (
    STAMP_NAME,
    hold_group,
    hold_participants,
    prepare_work_dir,
    recall_steps,
    remember_step,
)

from shd_bids import __version__
from shd_bids.config import LIBRARY_DIR_NAME
from shd_bids.errors import OutputError, WorkDirError


def test_a_new_folder_is_stamped_and_can_be_used_again(tmp_path):
    for _ in range(2):
        prepare_work_dir(tmp_path / "work", bids_dir=tmp_path, clean=False)
    stamp = json.loads((tmp_path / "work" / STAMP_NAME).read_text())
    assert stamp == {"version": __version__, "bids_dir": str(tmp_path)}


def test_another_version_is_refused_with_what_to_do(tmp_path):
    stamp = {"version": "0.0.1", "bids_dir": str(tmp_path)}
    (tmp_path / STAMP_NAME).write_text(json.dumps(stamp))
    with pytest.raises(WorkDirError, match=r"belongs to version 0\.0\.1.*--clean-workdir"):
        prepare_work_dir(tmp_path, bids_dir=tmp_path, clean=False)


def test_another_dataset_is_refused(tmp_path):
    prepare_work_dir(tmp_path / "work", bids_dir=tmp_path / "a", clean=False)
    with pytest.raises(WorkDirError, match="belongs to dataset"):
        prepare_work_dir(tmp_path / "work", bids_dir=tmp_path / "b", clean=False)


def test_cleaning_empties_our_folder_whatever_its_version(tmp_path):
    stamp = {"version": "0.0.1", "bids_dir": "elsewhere"}
    (tmp_path / STAMP_NAME).write_text(json.dumps(stamp))
    (tmp_path / "old").mkdir()
    prepare_work_dir(tmp_path, bids_dir=tmp_path, clean=True)
    assert not (tmp_path / "old").exists()


def test_cleaning_refuses_a_folder_that_is_not_ours(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(WorkDirError, match="shd-bids did not make"):
        prepare_work_dir(tmp_path, bids_dir=tmp_path, clean=True)
    assert (tmp_path / "thesis.txt").exists()


def test_cleaning_refuses_while_another_run_is_at_work(tmp_path):
    prepare_work_dir(tmp_path, bids_dir=tmp_path, clean=False)
    (tmp_path / "half-done").mkdir()
    with (
        hold_participants(tmp_path, ["01"]),
        pytest.raises(WorkDirError, match="Another run of shd-bids is at work on sub-01"),
    ):
        prepare_work_dir(tmp_path, bids_dir=tmp_path, clean=True)
    assert (tmp_path / "half-done").exists()
    prepare_work_dir(tmp_path, bids_dir=tmp_path, clean=True)
    assert not (tmp_path / "half-done").exists()


@pytest.mark.parametrize("name", [STAMP_NAME, "shd_bids_wf", "jobs", "checkpoints"])
def test_what_another_user_left_is_refused(tmp_path, monkeypatch, name):
    if name == STAMP_NAME:
        prepare_work_dir(tmp_path, bids_dir=tmp_path, clean=False)
    else:
        (tmp_path / name).mkdir()
    monkeypatch.setattr("shd_workflows.workdir._own_number", lambda _: os.getuid() + 1)
    with pytest.raises(WorkDirError, match=rf"{name} belongs to another user.*--work-dir"):
        prepare_work_dir(tmp_path, bids_dir=tmp_path, clean=False)


@pytest.mark.parametrize(("mode", "is_open"), [(0o777, True), (0o1777, False), (0o775, False)])
def test_a_folder_that_anybody_may_write_to_is_told_of(tmp_path, caplog, mode, is_open):
    (tmp_path / "work").mkdir()
    (tmp_path / "work").chmod(mode)
    with caplog.at_level("WARNING", logger="shd_workflows"):
        prepare_work_dir(tmp_path / "work", bids_dir=tmp_path, clean=False)
    assert ("Other users may write to" in caplog.text) is is_open


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        prepare_work_dir(tmp_path / "file" / "work", bids_dir=tmp_path, clean=False)


def test_two_runs_cannot_hold_the_same_participant(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from shd_workflows.workdir import hold_participants\n"
        "with hold_participants(Path(sys.argv[1]), ['01']):\n"
        "    print('held', flush=True)\n    time.sleep(60)\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "held\n"
        with hold_participants(tmp_path, ["02"]):
            pass
        with (
            pytest.raises(WorkDirError, match="at work on participant 01"),
            hold_participants(tmp_path, ["01"]),
        ):
            pass
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    with hold_participants(tmp_path, ["01"]):
        pass


def test_a_second_group_run_is_refused_by_its_name(tmp_path):
    with (
        hold_group(tmp_path),
        hold_participants(tmp_path, ["group"]),
        pytest.raises(WorkDirError, match="at work on the group level in"),
        hold_group(tmp_path),
    ):
        pass
    with hold_group(tmp_path):
        pass


def test_times_and_memory_of_earlier_runs_are_remembered(tmp_path):
    assert recall_steps(tmp_path) == {}
    for name, use in (("a", StepUse(1.0, 0.5, 1.0)), ("b", StepUse(2.0)), ("a", StepUse(3.0))):
        remember_step(tmp_path, name, use)
    known = recall_steps(tmp_path)
    assert known == {"b": StepUse(2.0), "a": StepUse(3.0)}
    assert list(known) == ["b", "a"]


@pytest.mark.parametrize("line", ["{", "[]", '{"name": "b", "hours": 1}', "null", '{"seconds": 1}'])
def test_a_damaged_line_of_earlier_runs_is_passed_over(tmp_path, line):
    (tmp_path / "steps.jsonl").write_text(f"{line}\n")
    remember_step(tmp_path, "a", StepUse(2.0))
    assert recall_steps(tmp_path) == {"a": StepUse(2.0)}


@pytest.mark.parametrize("found", ['{"a": 1.5, "b": 4.0}', "[]", '{"a": null}', "{"])
def test_times_that_an_earlier_version_kept_are_understood(tmp_path, found):
    (tmp_path / "seconds.json").write_text(found)
    remember_step(tmp_path, "b", StepUse(2.0, 0.1))
    earlier = {"a": StepUse(1.5)} if "1.5" in found else {}
    assert recall_steps(tmp_path) == earlier | {"b": StepUse(2.0, 0.1)}


def test_what_libraries_keep_there_neither_forbids_emptying_nor_goes(tmp_path):
    cache = tmp_path / LIBRARY_DIR_NAME / "home"
    cache.mkdir(parents=True)
    prepare_work_dir(tmp_path, bids_dir=tmp_path, clean=True)
    (tmp_path / "old").mkdir()
    prepare_work_dir(tmp_path, bids_dir=tmp_path, clean=True)
    assert cache.is_dir()
    assert not (tmp_path / "old").exists()


def test_emptying_lets_no_run_in_and_leaves_the_locks(tmp_path, monkeypatch):
    prepare_work_dir(tmp_path, bids_dir=tmp_path, clean=False)
    with hold_participants(tmp_path, ["01"]):
        locks = {file.name: file.stat().st_ino for file in tmp_path.glob(".*.lock")}
    (tmp_path / "old").mkdir()
    remove = shutil.rmtree

    def remove_while_others_try(folder):
        for label in ("01", "new"):
            with (
                pytest.raises(WorkDirError, match="Another run"),
                hold_participants(tmp_path, [label]),
            ):
                pass
        remove(folder)

    monkeypatch.setattr("shd_workflows.workdir.shutil.rmtree", remove_while_others_try)
    prepare_work_dir(tmp_path, bids_dir=tmp_path, clean=True)
    assert not (tmp_path / "old").exists()
    assert locks.items() <= {f.name: f.stat().st_ino for f in tmp_path.glob(".*.lock")}.items()


def test_what_cannot_be_removed_is_told(tmp_path, monkeypatch):
    prepare_work_dir(tmp_path, bids_dir=tmp_path, clean=False)
    (tmp_path / "old").mkdir()

    def refuse(folder):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr("shd_workflows.workdir.shutil.rmtree", refuse)
    with pytest.raises(OutputError, match=r"old cannot be removed: Permission denied"):
        prepare_work_dir(tmp_path, bids_dir=tmp_path, clean=True)
