"""Locale, clock, limits and an environment that lacks what others have."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faults.launch import finish, start
from faults.quick import assert_whole_results, quick_call
from faults.trees import assert_same_results

ODD = {
    "LC_ALL": "C",
    "LANG": "de_DE.UTF-8",
    "PYTHONIOENCODING": "ascii",
    "PYTHONHASHSEED": "7",
    "TZ": "Asia/Kathmandu",
    "HOME": "/nowhere",
}


def test_a_terminal_that_knows_ascii_alone_is_told_all(make_skeleton, tmp_path):
    bids_dir = make_skeleton({"01": ["sub-01"]}).rename(tmp_path / "Größe 🧠")
    arguments = (bids_dir, tmp_path / "Ärger", "participant", "-w", tmp_path / "w")
    run = finish(start(*arguments, "--boilerplate-only", environment=ODD))
    assert run.code == 0, run.text
    assert "Traceback" not in run.text
    assert "Methods text: " in run.text
    assert "rger/logs/CITATION.md" in run.text


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"PYTHONOPTIMIZE": "2"}, "PYTHONOPTIMIZE=1 is fine"),
        (ODD | {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "whose file names are in ascii"),
    ],
)
def test_a_python_that_libraries_do_not_bear_is_refused_in_words(tmp_path, environment, words):
    call = (tmp_path / "Größe", tmp_path / "out", "participant", "-w", tmp_path / "w")
    run = finish(start(*call, environment=environment))
    assert run.code == 2, run.text
    assert words in run.last_line


def test_our_modules_raise_no_warning_when_they_are_imported():
    code = (
        "import warnings, importlib, pkgutil, shd_bids.cli.run\n"
        "warnings.filterwarnings('error', module='shd_')\n"
        "import shd_workflows.run, shd_workflows.group_run\n"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_odd_surroundings_change_no_result(tmp_path, tiny_phantom_dir):
    bids_dir = shutil.copytree(tiny_phantom_dir, tmp_path / "bids")
    plain = quick_call(bids_dir, tmp_path / "plain", tmp_path / "w")
    assert finish(start(*plain, environment={"PYTHONHASHSEED": "0"})).code == 0
    for number, file in enumerate(bids_dir.rglob("*")):
        stamp = (0, 1, 4e9, -1e6)[number % 4]  # 1970, the future, before all
        os.utime(file, (stamp, stamp))
    odd = [word.replace("plain", "Ödland").replace("/w", "/w2") for word in plain]
    run = start(
        *odd, environment=ODD | {"PYTHONOPTIMIZE": "1"}, prefix=("env", "-u", "TERM"), umask=0o077
    )
    finish(run)
    assert run.code == 0, run.text
    assert "Traceback" not in run.text
    assert_whole_results(tmp_path / "Ödland")
    assert_same_results(tmp_path / "Ödland", tmp_path / "plain", ignore=r"(^|/)log/")
    for file in (tmp_path / "Ödland").rglob("*"):
        if file.is_file() and not file.name.endswith(".lock"):
            assert file.stat().st_mode & 0o077 == 0, file  # the user's umask holds


@pytest.mark.slow
def test_an_input_with_a_new_time_and_the_same_content_gives_the_same(tmp_path, tiny_phantom_dir):
    bids_dir: Path = shutil.copytree(tiny_phantom_dir, tmp_path / "bids")
    call = quick_call(bids_dir, tmp_path / "out", tmp_path / "w")
    assert finish(start(*call)).code == 0
    (tmp_path / "out").rename(tmp_path / "before")
    for file in bids_dir.rglob("*_dwi.*"):
        os.utime(file, (1e9, 1e9))  # the clock went backwards
    run = finish(start(*call))
    assert run.code == 0, run.text
    assert_same_results(tmp_path / "out", tmp_path / "before", ignore=r"(^|/)log/")
