"""A disk that is full or read-only stops what needs it, says so, and ruins nothing."""

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from deconvolution.job_files import write_job
from deconvolution.scans import TINY
from faults.launch import finish, start, wait_for_line
from faults.mounts import remount, small_disk
from faults.quick import assert_whole_results, quick_call
from faults.trees import assert_same_results, leftovers_of
from safetensors.torch import load_file
from shd_workflows.outcome import each_reason_once

from shd_bids.bids import files
from shd_bids.bids.files import replace_file, write_text
from shd_bids.bids.space import explain_disk, explain_failure, is_disk_error
from shd_bids.deconvolution import checkpoint, state
from shd_bids.deconvolution.checkpoint import load_checkpoint, save_checkpoint
from shd_bids.deconvolution.job import Job, run_job
from shd_bids.deconvolution.presets import PRESETS
from shd_bids.errors import OutputError

NUMBERS = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO]


def _refuse(number):
    def refuse(*arguments, **options):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", NUMBERS)
def test_whatever_is_wrong_with_a_disk_its_folder_and_a_way_out_are_named(tmp_path, number):
    said = explain_disk(number, tmp_path / "not" / "yet")
    assert said.startswith(os.strerror(number))
    assert str(tmp_path) in said
    assert "The same command then goes on where it stopped." in said


def test_a_full_disk_is_told_with_what_is_free(tmp_path):
    assert re.search(r"[\d.]+ [MGT]B of [\d.]+ [MGT]B are free", explain_disk(28, tmp_path))


@pytest.mark.parametrize("number", NUMBERS)
def test_a_file_that_cannot_be_written_leaves_the_one_before_and_nothing_else(
    tmp_path, monkeypatch, number
):
    file = tmp_path / "sidecar.json"
    write_text(file, "before")
    monkeypatch.setattr(os, "fsync", _refuse(number))  # where a delayed write fails at last
    with pytest.raises(OutputError, match=re.escape(os.strerror(number))):
        write_text(file, "after")
    assert file.read_text() == "before"
    assert [file.name for file in (tmp_path).iterdir()] == ["sidecar.json"]


def test_a_copy_that_the_disk_has_no_room_for_is_not_seen(tmp_path, monkeypatch):
    (tmp_path / "source").write_bytes(b"x" * 1000)
    monkeypatch.setattr(files.shutil, "copyfile", _refuse(errno.ENOSPC))
    with pytest.raises(OutputError, match="are free on the disk of"):
        replace_file(tmp_path / "source", tmp_path / "out" / "copy")
    assert [file.name for file in (tmp_path / "out").iterdir()] == []


def test_a_limit_of_file_sizes_is_told_as_one(tmp_path):
    program = (
        "import resource, sys; from pathlib import Path;"
        "from shd_bids.bids.files import write_text;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "write_text(Path(sys.argv[1]), 'x' * 10000)"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "large.txt")],
        capture_output=True, text=True, env=env, check=False,
    )  # fmt: skip
    assert "OutputError" in done.stderr
    assert "ulimit -f" in done.stderr
    assert [file.name for file in (tmp_path).iterdir()] == []


def test_of_an_error_without_a_path_the_disk_that_is_full_is_named(tmp_path, monkeypatch):
    full = tmp_path / "full"
    full.mkdir()
    real = os.statvfs

    def statvfs(place):
        told = real(place)
        if Path(place) != full:
            return told
        fields = list(told)
        fields[3] = fields[4] = 0  # free blocks
        return os.statvfs_result(fields)

    monkeypatch.setattr(os, "statvfs", statvfs)
    for said in ("OSError: [Errno 28] No space left on device", "ItkError: cannot write"):
        told = explain_failure(said, [tmp_path, full])
        assert f"0.0 MB of {told.split(' of ')[1].split(' are')[0]} are free" in told
        assert f"disk of {full}" in told


def test_other_errors_are_left_as_they_are(tmp_path):
    assert explain_failure("The mask is empty.", [tmp_path]) == "The mask is empty."
    assert not is_disk_error(FileNotFoundError(errno.ENOENT, "no such file"))


def test_memory_that_ran_out_is_told_with_what_to_try(tmp_path):
    said = explain_failure("MemoryError: Unable to allocate 9.0 GiB for an array", [tmp_path])
    assert "9.0 GiB" in said
    assert "--nprocs" in said


def test_steps_that_fail_for_one_full_disk_are_told_in_one_message(tmp_path):
    why = explain_disk(errno.ENOSPC, tmp_path)
    said = each_reason_once(
        [
            f"ds_a failed: Cannot write a: {why}",
            f"ds_b failed: Cannot write b: {why}",
            "c failed: x",
        ]
    )
    assert len(said) == 2
    assert said[0].endswith("For the same reason failed ds_b.")


def test_a_checkpoint_that_finds_no_room_leaves_the_one_before(tmp_path, monkeypatch):
    file = tmp_path / "training.safetensors"
    save_checkpoint({"a": torch.zeros(3)}, file)
    monkeypatch.setattr(checkpoint.os, "fsync", _refuse(errno.ENOSPC))
    with pytest.raises(OutputError, match="No space left on device"):
        save_checkpoint({"a": torch.ones(3)}, file)
    assert torch.equal(load_checkpoint(file)["a"], torch.zeros(3))
    assert [file.name for file in (tmp_path).iterdir()] == ["training.safetensors"]


def test_training_goes_on_where_no_checkpoint_can_be_saved(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(PRESETS, "fast", TINY)
    weights = []
    for name in ("a", "b"):
        if name == "b":
            monkeypatch.setattr(state, "save_checkpoint", _full_checkpoint)
        run_job(Job.from_file(write_job(tmp_path / name, checkpoint_seconds=0.0)))
        weights.append(load_file(tmp_path / name / "out/weights.safetensors"))
    assert "Training goes on without a new checkpoint. Cannot write" in caplog.text
    torch.testing.assert_close(*weights, rtol=0, atol=0)


def _full_checkpoint(content, file, settings=None):
    raise OutputError(f"Cannot write {file}: {explain_disk(errno.ENOSPC, file)}")


# From here on for real: the program on a disk of a megabyte.


@pytest.fixture(scope="module")
def expected(tmp_path_factory, tiny_phantom_dir):
    """Run it where there is room."""
    root = tmp_path_factory.mktemp("expected")
    run = finish(start(*quick_call(tiny_phantom_dir, root / "out", root / "w")))
    assert run.code == 0, run.text
    assert_whole_results(root / "out")
    return root / "out"


def _assert_told(run, folder, words="No space left on device"):
    assert run.code == 1, run.text
    assert run.last_line == "shd-bids finished: 0 of 1 participant(s); failed: sub-01."
    assert re.search(rf"{words}.*{re.escape(str(folder))}", run.text), run.text
    assert "Traceback" not in run.text


@pytest.mark.slow
@pytest.mark.parametrize("options", ["size=8k", "size=500k", "size=1m", "nr_inodes=60"])
def test_a_full_work_directory_stops_the_run_which_goes_on_when_there_is_room(
    tmp_path, tiny_phantom_dir, expected, options
):
    out = tmp_path / "out"
    with small_disk(tmp_path / "w", options) as work:
        call = quick_call(tiny_phantom_dir, out, work)
        _assert_told(finish(start(*call)), work)
        assert_whole_results(out)
        if options not in ("size=1m", "nr_inodes=60"):
            return
        remount(work, "size=100m,nr_inodes=100000")
        run = finish(start(*call))
        assert run.code == 0, run.text
        assert "merge_runs: started" not in run.text  # the first step was not lost
    assert_same_results(out, expected, ignore=r"(^|/)log/")


@pytest.mark.slow
@pytest.mark.parametrize("options", ["size=100k", "size=300k"])
def test_a_full_output_stops_the_run_which_goes_on_when_there_is_room(
    tmp_path, tiny_phantom_dir, expected, options
):
    with small_disk(tmp_path / "out", options) as out:
        call = quick_call(tiny_phantom_dir, out, tmp_path / "w")
        _assert_told(finish(start(*call)), out)
        assert_whole_results(out)
        remount(out, "size=100m")
        run = finish(start(*call))
        assert run.code == 0, run.text
        assert "estimate_response: started" not in run.text  # nothing is computed again
        assert_whole_results(out)
        assert_same_results(out, expected, ignore=r"(^|/)log/")


@pytest.mark.slow
def test_an_output_that_becomes_read_only_is_told_and_the_run_goes_on_later(
    tmp_path, tiny_phantom_dir, expected
):
    with small_disk(tmp_path / "out", "size=100m") as out:
        call = quick_call(tiny_phantom_dir, out, tmp_path / "w")
        run = start(*call)
        wait_for_line(run, "merge_runs: started")
        run.process.send_signal(signal.SIGSTOP)  # the log is open for writing: remount by force
        subprocess.run(["mount", "--bind", str(out), str(out)], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", str(out)], check=True)
        run.process.send_signal(signal.SIGCONT)
        try:
            _assert_told(finish(run), out, "Read-only file system")
        finally:
            subprocess.run(["umount", "--lazy", str(out)], check=True)
        assert leftovers_of(out) == []
        run = finish(start(*call))
        assert run.code == 0, run.text
        assert_same_results(out, expected, ignore=r"(^|/)log/")


@pytest.mark.slow
def test_a_full_folder_of_temporary_files_is_named(tmp_path, tiny_phantom_dir):
    with small_disk(tmp_path / "tmp", "size=16k") as folder:
        (folder / "ballast").write_bytes(b"\0" * 12000)
        call = quick_call(tiny_phantom_dir, tmp_path / "out", tmp_path / "w")
        run = finish(start(*call, environment={"TMPDIR": str(folder)}))
        _assert_told(run, folder)
    assert_whole_results(tmp_path / "out")
