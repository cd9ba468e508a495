"""A lock keeps others out, and goes with its holder, however that ends."""

import errno
import logging
import subprocess
import sys

import pytest

from shd_bids.bids import locks
from shd_bids.bids.locks import hold_lock, is_held

HOLDER = """
import sys, time
from pathlib import Path
from shd_bids.bids.locks import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_lock_goes_with_its_holder_who_is_killed(tmp_path):
    file = tmp_path / "folder" / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        assert is_held(file)
        with pytest.raises(TimeoutError, match="held by another"), hold_lock(file, timeout_s=0.1):
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert not is_held(file)
    with hold_lock(file):
        pass


def test_those_who_share_keep_out_only_those_who_do_not(tmp_path):
    file = tmp_path / ".lock"
    with hold_lock(file, shared=True), hold_lock(file, shared=True):
        assert is_held(file)
    with hold_lock(file), pytest.raises(TimeoutError), hold_lock(file, shared=True):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_of_and_stops_nobody(
    tmp_path, monkeypatch, caplog, number
):
    def refuse(descriptor, operation):
        raise OSError(number, "no locks here")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING), hold_lock(tmp_path / ".lock"):
        pass
    assert "cannot be locked (no locks here)" in caplog.text


def test_a_lock_that_cannot_be_made_is_told_of_and_stops_nobody(tmp_path, caplog):
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING), hold_lock(tmp_path / "file" / ".lock"):
        pass
    assert "cannot be locked" in caplog.text
