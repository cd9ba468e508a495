"""A file is complete under its final name or not there at all."""

import gzip
import json
import os
import subprocess
import sys
import threading
import zlib

import pytest

from shd_bids.bids.files import (
    dataset_lock,
    gzip_trailer,
    remove_leftovers,
    replace_file,
    write_json,
    write_text,
)
from shd_bids.errors import OutputError


def test_folders_are_made(tmp_path):
    write_json(tmp_path / "a" / "b.json", {"x": [1, 2]})
    assert json.loads((tmp_path / "a" / "b.json").read_text()) == {"x": [1, 2]}


def test_a_name_in_another_encoding_can_be_told(tmp_path):
    name = os.fsdecode(b"gr\xf6\xdfe")  # Latin-1, as on a disk of the nineties
    write_text(tmp_path / "page.html", f"<p>{name}</p>")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "<p>gr\\udcf6\\udcdfe</p>"
    write_json(tmp_path / "told.json", {"name": name})
    assert json.loads((tmp_path / "told.json").read_text(encoding="utf-8")) == {"name": name}


def test_the_end_of_a_compressed_file_tells_its_content_whatever_the_level(tmp_path):
    one, other = tmp_path / "one.gz", tmp_path / "other.gz"
    one.write_bytes(gzip.compress(b"fibres" * 100, 1))
    other.write_bytes(gzip.compress(b"fibres" * 100, 9))
    assert one.read_bytes() != other.read_bytes()
    assert (
        gzip_trailer(one)
        == gzip_trailer(other)
        == (f"crc32:{zlib.crc32(b'fibres' * 100):08x}", 600)
    )
    other.write_bytes(other.read_bytes()[:-3])
    assert gzip_trailer(other)[1] != 600
    for name, content in (("plain.nii", b"fibres" * 100), ("empty.gz", b"")):
        (tmp_path / name).write_bytes(content)
        assert gzip_trailer(tmp_path / name) is None


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
    with pytest.raises(
        OutputError,
        match=r"Cannot write .*a.txt: No space left.*are free on the disk of.*Make room",
    ):
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


def test_a_lock_that_another_holds_is_named(tmp_path):
    message = r"shd-bids.lock has been held for 0.1 s: another run is writing"
    with (
        dataset_lock(tmp_path),
        pytest.raises(OutputError, match=message),
        dataset_lock(tmp_path, timeout_s=0.1),
    ):
        pass


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path):
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom shd_bids.bids import files\n"
        "files.shutil.copyfile = lambda source, target: (target.write_text('half'), os.abort())\n"
        "files.replace_file(Path(sys.argv[1]) / 'a.txt', Path(sys.argv[1]) / 'sub' / 'b.txt')\n"
    )
    write_text(tmp_path / "a.txt", "text")
    write_text(tmp_path / "sub" / ".hidden", "text")
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (left,) = (tmp_path / "sub").glob(".b.txt.*")
    remove_leftovers(tmp_path / "sub", "c.txt")
    remove_leftovers(tmp_path)
    assert left.read_text() == "half"
    remove_leftovers(tmp_path, deep=True)
    kept = {file.name for file in tmp_path.rglob("*") if file.is_file()}
    assert kept == {"a.txt", ".hidden"}
