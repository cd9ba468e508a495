"""Asked to end, a run ends: soon, with nothing left running, and it says how to go on."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults.launch import (
    Run,
    assert_nothing_runs,
    finish,
    kill,
    kill_all,
    processes_of,
    start,
    wait_for_line,
    wait_until,
)
from faults.trees import assert_same_results, assert_whole
from shd_workflows.signals import Interrupted, hear_signals, raise_if_interrupted

from shd_bids.bids.locks import is_held

FAST = ("--denoise-method", "none", "--mask-method", "none", "--nprocs", "2", "--omp-nthreads", "1")


def _preproc(bids_dir: Path, root: Path, *more: object) -> list[object]:
    flags = [bids_dir, root / "out", "participant", "--level", "preproc", "-w", root / "work"]
    return [*flags, *FAST, *more]


def test_a_run_ended_by_sigterm_says_so_and_the_same_command_goes_on(make_skeleton, tmp_path):
    call = _preproc(make_skeleton({"01": ["sub-01"]}), tmp_path)
    run = start(*call)
    wait_for_line(run, "merge_runs: done")
    kill(run, signal.SIGTERM)
    finish(run)
    assert run.code == 128 + signal.SIGTERM
    assert re.search("interrupted by SIGTERM.*same command goes on", run.last_line), run.text
    assert "Traceback" not in run.text
    assert_nothing_runs(run)
    assert not any(is_held(lock) for lock in tmp_path.rglob("*.lock"))
    assert_whole(tmp_path / "out")
    again = finish(start(*call))
    assert again.code == 0, again.text
    assert "merge_runs: started" not in again.text
    (log,) = (file for file in tmp_path.rglob("shd-bids.log") if "SIGTERM" in file.read_text())
    assert "Interrupted by SIGTERM" in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_every_signal_that_asks_to_end_gives_its_own_exit_code(number):
    before = signal.signal(number, signal.default_int_handler)  # should a shell have it ignored
    try:
        with pytest.raises(Interrupted, match=number.name) as interruption, hear_signals():
            os.kill(os.getpid(), number)
    finally:
        signal.signal(number, before)
    assert interruption.value.exit_code == 128 + number


def test_afterwards_signals_are_heard_as_before():
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    with pytest.raises(Interrupted), hear_signals():
        os.kill(os.getpid(), signal.SIGTERM)
    after = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    assert after == before
    raise_if_interrupted()


def test_what_is_ignored_from_the_start_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with hear_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_comes_in_a_destructor_is_not_lost():
    class Asked:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)

    with hear_signals():
        Asked()
        with pytest.raises(Interrupted):
            raise_if_interrupted()


SLEEPER = """
import sys, time
from shd_workflows.signals import Interrupted, hear_signals
with hear_signals():
    try:
        print("ready", flush=True)
        time.sleep(600)
    except Interrupted:
        print("ending", flush=True)
        time.sleep(600)
"""


def test_a_second_ctrl_c_ends_the_process_at_once():
    process = subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, text=True)
    for line in ("ready", "ending"):
        assert process.stdout.readline().strip() == line
        process.send_signal(signal.SIGINT)
    assert process.wait(60) == 128 + signal.SIGINT
    process.stdout.close()


@pytest.mark.slow
def test_a_reader_that_goes_away_stops_nothing(make_skeleton, tmp_path):
    call = _preproc(make_skeleton({"01": ["sub-01"]}), tmp_path)
    read, write = os.pipe()
    with (tmp_path / "errors").open("w") as errors:
        run = start(*call, stdout=write, stderr=errors)
    os.close(write)
    os.read(read, 10)
    os.close(read)  # as head does
    finish(run)
    assert run.code == 0
    assert (tmp_path / "errors").read_text() == ""
    assert (tmp_path / "out/sub-01.html").is_file()


def _steps_saved(run: Run) -> int:
    return int(re.search(r"saved up to step (\d+)", run.text).group(1))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_training_saves_itself_and_goes_on_as_if_nothing_had_been(
    undisturbed, tmp_path, number, record_fault
):
    """A scheduler may send the signal to every process; as it comes, nothing is lost."""
    call = undisturbed.call(tmp_path)
    run = start(*call, start_new_session=True)
    wait_for_line(run, r"Step ([1-9]|[1-5]\d) of 60")
    if number == signal.SIGTERM:  # to every process of the session, as schedulers do
        for pid in processes_of(run):
            os.kill(pid, number)
    else:  # to the process group, as terminals do
        os.killpg(run.process.pid, number)
    asked = time.monotonic()
    finish(run)
    seconds = time.monotonic() - asked
    assert run.code == 128 + number, run.text
    assert f"interrupted by {number.name}" in run.last_line
    assert_nothing_runs(run)
    assert_whole(tmp_path / "out")
    again = finish(start(*call))
    assert again.code == 0, again.text
    assert f"Training goes on after step {_steps_saved(run)}." in again.text
    assert_same_results(tmp_path / "out", undisturbed.out)
    record_fault(f"{number.name} in a training", run, again, f"ended in {seconds:.1f} s")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace of processes needs root")
@pytest.mark.needs_tool("unshare")
def test_the_first_process_of_a_container_hears_sigterm(make_skeleton, tmp_path):
    call = _preproc(make_skeleton({"01": ["sub-01"]}), tmp_path)
    run = start(*call, prefix=("unshare", "--pid", "--fork", "--mount-proc", "--kill-child"))
    wait_for_line(run, "merge_runs: done")
    (pid,) = (
        pid
        for pid, words in processes_of(run).items()
        if "unshare" not in words and _number_inside(pid) == 1
    )
    os.kill(pid, signal.SIGTERM)
    finish(run)
    assert "interrupted by SIGTERM" in run.last_line
    assert run.code == 128 + signal.SIGTERM
    assert_nothing_runs(run)


def _number_inside(pid: int) -> int:
    """Give the number that a process has in its own namespace."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[-1]) for line in lines if line.startswith("NSpid:"))


@pytest.mark.slow
def test_ctrl_c_twice_leaves_nothing_running(undisturbed, tmp_path):
    run = start(*undisturbed.call(tmp_path), start_new_session=True)
    wait_for_line(run, r"Computing on")
    fit = wait_until(
        lambda: [pid for pid, words in processes_of(run).items() if ".deconvolution " in words],
        "the fit",
    )
    for pid in fit:
        os.kill(pid, signal.SIGSTOP)  # it will not end by itself
    os.killpg(run.process.pid, signal.SIGINT)
    wait_for_line(run, "Interrupted by SIGINT")
    os.killpg(run.process.pid, signal.SIGINT)
    try:
        finish(run)
        assert run.code == 128 + signal.SIGINT
        assert_nothing_runs(run)
    finally:
        kill_all(run)
