"""The program as a user whom the machine does not know, who may write to output and work alone."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import write_skeleton

STRANGER = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "--no-new-privs"]
ROOT = Path(__file__).parents[2]
FLAGS = ("--level", "preproc", "--denoise-method", "none", "--mask-method", "none")
ALONE = ("--nprocs", "1", "--omp-nthreads", "1", "--device", "cpu")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Make a folder that others can reach; pytest's are closed to them."""
    path = Path(tempfile.mkdtemp(prefix="shd-bids-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def _stranger_command() -> list[str]:
    """Give up root and all rights, with a Python that another user may run; else as we are."""
    code = (
        "import multiprocessing as m, shd_bids.cli.run\n"
        "process = m.get_context('forkserver').Process()\n"
        "process.start(); process.join(); sys.exit(process.exitcode)"
    )
    if os.geteuid() == 0 and shutil.which("setpriv"):
        for python in (sys.executable, "/usr/bin/python3"):  # ours may lie in root's home
            command = [*STRANGER, python]
            probe = [*command, "-c", f"import sys; sys.path[:0] = {sys.path[1:]}\n{code}"]
            if subprocess.run(probe, capture_output=True, cwd="/").returncode == 0:
                return command
    return [sys.executable]


def test_neither_home_nor_name_nor_current_folder_is_needed(folder):
    bids_dir = write_skeleton(folder / "bids", {"01": ["sub-01"]})
    here = folder / "here"
    for name in ("out", "work", "here"):
        (folder / name).mkdir()
    python = _stranger_command()
    is_stranger = len(python) > 1
    if is_stranger:
        for name in ("out", "work"):
            os.chown(folder / name, 12345, 12345)
    here.chmod(0o555)
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    command = ["-m", "shd_bids.cli.run", bids_dir, folder / "out", "participant"]
    done = subprocess.run(
        [*python, *command, "-w", folder / "work", *FLAGS, *ALONE],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "out/sub-01.html").is_file()
    assert not list(here.iterdir())
    if is_stranger:
        assert f"{folder}/work/.libraries/home takes its place" in done.stderr
        assert (folder / "work/.libraries/home").is_dir()
    assert {file.name for file in folder.iterdir()} == {"bids", "out", "work", "here"}
