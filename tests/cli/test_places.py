"""Libraries find folders that they can write to, whatever the machine lacks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shd_bids.cli import places
from shd_bids.cli.places import find_places
from shd_bids.errors import ConfigError


@pytest.fixture
def machine(monkeypatch):
    """Say which folders can be written, since root may write to all of them."""
    writable: set[Path] = set()
    monkeypatch.setattr(places, "_can_write", lambda place: place in writable)
    return writable


def test_nothing_changes_where_home_and_tmp_can_be_written(machine, tmp_path):
    machine |= {Path("/home/me"), Path("/tmp")}
    assert find_places(tmp_path / "own", {"HOME": "/home/me"}) == {}
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize("home", ["/", "/root", ""])
def test_a_home_that_cannot_be_written_is_replaced(machine, tmp_path, home):
    machine |= {Path("/tmp")}
    own = tmp_path / "own"
    assert find_places(own, {"HOME": home}) == {"HOME": str(own / "home")}
    assert (own / "home").is_dir()


def test_a_user_without_an_entry_has_no_home(machine, tmp_path, monkeypatch):
    machine |= {Path("/tmp")}
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert find_places(tmp_path, {}) == {"HOME": str(tmp_path / "home")}


def test_temporary_files_go_to_the_work_directory_if_there_is_no_tmp(machine):
    machine |= {Path("/home/me"), Path("/w/own/tmp")}
    assert find_places(Path("/w/own"), {"HOME": "/home/me"}) == {"TMPDIR": "/w/own/tmp"}


def test_a_path_too_long_for_sockets_is_passed_over(machine):
    long = "/scratch/" + "x" * 80
    machine |= {Path("/home/me"), Path(long), Path("/var/tmp")}
    assert find_places(Path("/w/own"), {"HOME": "/home/me", "TMPDIR": long}) == {
        "TMPDIR": "/var/tmp"
    }


def test_no_place_for_temporary_files_is_an_error_that_says_what_to_set(machine):
    machine |= {Path("/home/me")}
    with pytest.raises(ConfigError, match=r"/w/own/tmp.*can be written.*Set TMPDIR"):
        find_places(Path("/w/own"), {"HOME": "/home/me"})


def test_a_folder_of_templates_that_cannot_be_made_is_replaced(machine, tmp_path):
    machine |= {Path("/home/me"), Path("/tmp")}
    asked = {"HOME": "/home/me", "TEMPLATEFLOW_HOME": "/nowhere/templateflow"}
    assert find_places(tmp_path, asked) == {"TEMPLATEFLOW_HOME": str(tmp_path / "templateflow")}


def test_a_folder_of_templates_that_is_filled_may_be_read_only(machine, tmp_path):
    machine |= {Path("/home/me"), Path("/tmp")}
    (tmp_path / "tpl-Mine").mkdir()
    assert (
        find_places(tmp_path / "own", {"HOME": "/home/me", "TEMPLATEFLOW_HOME": str(tmp_path)})
        == {}
    )


def test_the_room_that_is_kept_is_enough_for_processes_to_meet(tmp_path):
    """The limit is the system's, of the path of a socket."""

    def meets(length: int) -> bool:
        folder = tmp_path / ("x" * (length - len(os.fsencode(tmp_path)) - 1))
        folder.mkdir()
        code = "import multiprocessing as m; m.get_context('forkserver').Process().start()"
        done = subprocess.run(
            [sys.executable, "-c", code], env={"TMPDIR": str(folder)}, capture_output=True
        )
        return done.returncode == 0

    room = places._ROOM_FOR_SOCKETS
    if len(os.fsencode(tmp_path)) + 2 > room:
        pytest.skip("the folder for tests has too long a path itself")
    assert meets(room)


@pytest.mark.parametrize("name", ["HOME", "TMPDIR", "TEMPLATEFLOW_HOME"])
def test_a_place_in_a_folder_that_may_not_be_entered_is_none(tmp_path, name):
    own, closed = tmp_path / "own", tmp_path / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0)
    user = os.geteuid()
    if user == 0:  # who may enter everything
        os.setresuid(65534, 65534, 0)
    try:
        environment = {"HOME": "/tmp", name: str(closed / "inner")}
        changed = find_places(own, environment)
    finally:
        if user == 0:
            os.setresuid(0, 0, 0)
        closed.chmod(0o700)
    assert (name in changed) is (name != "TMPDIR")
