"""A file is complete under its final name or not there at all."""

import json
import threading

import pytest

from shd_bids.bids.files import dataset_lock, replace_file, write_json, write_text
from shd_bids.errors import OutputError


def test_folders_are_made(tmp_path):
    write_json(tmp_path / "a" / "b.json", {"x": [1, 2]})
    assert json.loads((tmp_path / "a" / "b.json").read_text()) == {"x": [1, 2]}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "a.json"
    write_json(file, {"x": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(file, {"x": float("nan")})
    with pytest.raises(OutputError, match=r"Cannot write .*a.json"):
        replace_file(tmp_path / "missing", file)
    assert json.loads(file.read_text()) == {"x": 1}
    assert list(tmp_path.iterdir()) == [file]


def test_a_full_disk_is_said_so(tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OutputError, match=r"Cannot write .*a.txt: No space left.*Check free space"):
        write_text(tmp_path / "a.txt", "text")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"Cannot write .*file/a.txt"):
        write_text(tmp_path / "file" / "a.txt", "text")


def test_files_can_be_read_by_the_group(tmp_path):
    write_text(tmp_path / "a.txt", "text")
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_concurrent_runs_wait_for_each_other(tmp_path):
    inside, most = [], []

    def work() -> None:
        with dataset_lock(tmp_path):
            inside.append(1)
            most.append(len(inside))
            threading.Event().wait(0.02)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


def test_a_stale_lock_is_named(tmp_path):
    (tmp_path / ".shd-bids.lock").touch()
    message = r"shd-bids.lock has been held for 0.1 s.*delete that file"
    with pytest.raises(OutputError, match=message), dataset_lock(tmp_path, timeout_s=0.1):
        pass
