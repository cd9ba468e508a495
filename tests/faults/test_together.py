"""Several runs write into one output at once, and it is as whole as after one."""

import json
import logging
import signal
from pathlib import Path

import pytest
from faults.launch import Run, assert_nothing_runs, finish, kill, start, wait_for_line
from faults.trees import assert_same_results, assert_whole
from shd_workflows import logs

from shd_bids.bids.files import LOCK_NAME

slow = pytest.mark.slow
LABELS = ("01", "02", "03")


def _start(bids_dir: Path, root: Path, label: str, work: str, **options: object) -> Run:
    flags = ("--level", "preproc", "--omp-nthreads", 1, "--nprocs", 1, "--participant-label", label)
    return start(bids_dir, root / "out", "participant", "-w", root / work, *flags, **options)


@slow
def test_participants_at_once_give_what_they_give_one_after_another(make_skeleton, tmp_path):
    """Two share a work directory, the third has its own, and the group level looks on."""
    bids_dir = make_skeleton({label: [f"sub-{label}"] for label in LABELS})
    works = dict(zip(LABELS, ("work", "work", "other"), strict=True))
    one, many = tmp_path / "one", tmp_path / "many"
    for label in LABELS:
        assert finish(_start(bids_dir, one, label, "work")).code == 0
    runs = [_start(bids_dir, many, label, works[label]) for label in LABELS]
    wait_for_line(runs[0], "merge_runs: done")
    group = finish(
        start(bids_dir, many / "out", "group", "-w", many / "group", "--level", "preproc")
    )
    assert group.code in (0, 1), group.text  # whoever has written nothing yet is left out
    assert "Traceback" not in group.text
    for run in runs:
        assert finish(run).code == 0, run.text
    for run in runs:  # when all are waited for: whoever has ended before is a zombie till then
        assert_nothing_runs(run)
    assert_whole(many / "out")
    assert_same_results(many / "out", one / "out", ignore="^group")
    links = json.loads((many / "out/dataset_description.json").read_text())["DatasetLinks"]
    assert links["raw"] == bids_dir.resolve().as_uri()


@slow
def test_a_participant_that_another_run_is_at_is_refused_from_any_work_directory(
    make_skeleton, tmp_path
):
    bids_dir = make_skeleton({"01": ["sub-01"]})
    run = _start(bids_dir, tmp_path, "01", "work")
    wait_for_line(run, "merge_runs: started")
    for work in ("work", "other"):
        refused = finish(_start(bids_dir, tmp_path, "01", work))
        assert refused.code == 2
        assert "at work on participant 01" in refused.last_line
        assert "Traceback" not in refused.text
    assert finish(run).code == 0, run.text
    assert_whole(tmp_path / "out")
    assert finish(_start(bids_dir, tmp_path, "01", "other")).code == 0


@slow
def test_a_killed_run_holds_nothing(make_skeleton, tmp_path):
    bids_dir = make_skeleton({"01": ["sub-01"]})
    run = _start(bids_dir, tmp_path, "01", "work")
    wait_for_line(run, "merge_runs: started")
    kill(run, signal.SIGKILL)
    finish(run)
    assert_nothing_runs(run)
    assert (tmp_path / "out/sub-01/log" / LOCK_NAME).exists()
    assert finish(_start(bids_dir, tmp_path, "01", "other")).code == 0


def test_a_log_that_cannot_be_opened_is_named_and_the_run_goes_on(tmp_path, capsys):
    (tmp_path / "file").touch()
    own = {"sub_01_wf": tmp_path / "file/shd-bids.log", "sub_02_wf": tmp_path / "good.log"}
    _log(own, "said")
    assert "file/shd-bids.log cannot be written" in capsys.readouterr().err
    assert "said" in (tmp_path / "good.log").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_log_on_a_full_disk_is_named_once_and_the_run_goes_on(capsys):
    _log({"sub_01_wf": Path("/dev/full")}, "one", "two", "three")
    captured = capsys.readouterr()
    assert captured.err.count("cannot be written: No space left on device") == 1
    assert "Traceback" not in captured.err
    assert "three" in captured.out


def _log(log_files: dict[str, Path], *lines: str) -> None:
    logs.set_up_logging(verbosity=0, log_files=log_files)
    logger = logging.getLogger("shd_bids")
    try:
        for line in lines:
            logger.info("%s", line)
    finally:
        for root in logs._ROOTS:
            logs.close_handlers(logging.getLogger(root))
        logging.captureWarnings(False)
