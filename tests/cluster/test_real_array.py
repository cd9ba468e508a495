"""The script for arrays in a real Slurm, with a program in our place that only waits.

Slurm starts what is queued again no sooner than two minutes later.
"""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from cluster.real_slurm import RealSlurm, wait_for

pytestmark = pytest.mark.slow
SCRIPT = str(files("shd_bids.data").joinpath("slurm_array.sh"))
#: Counts its attempts in its work directory and waits; saves itself when it is asked to end.
#: It finishes when it finds what it has saved.
PROGRAM = """#!/bin/bash
while [ "$1" != --work-dir ]; do shift; done
mkdir -p "$2"
echo attempt >> "$2/attempts"
if [ -e "$2/saved" ]; then echo "goes on"; exit 0; fi
trap 'touch "$2/saved"; kill $!; exit 143' TERM
sleep 3600 &
touch "$2/started"
wait
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory) -> Iterator[RealSlurm]:
    slurm = RealSlurm(tmp_path_factory.mktemp("slurm"))
    program = slurm.folder / "bin/shd-bids"
    program.write_text(PROGRAM)
    yield slurm
    slurm.stop()


@pytest.fixture
def submit(slurm, tmp_path):
    """Submit two tasks and wait until both run; a local disk if one is named."""
    listed = tmp_path / "list.txt"
    listed.write_text("sub-01\nsub-02\n")

    def run(*options: str, scratch: str = "") -> str:
        places = [str(tmp_path / name) for name in ("bids", "out", "work")]
        more = [f"--export=ALL,SHD_BIDS_SCRATCH={scratch}"] if scratch else []
        job = slurm.call(
            *("sbatch", "--parsable", "--array=1-2", "--mem=1G", "--cpus-per-task=1"),
            *("--time=60", f"--chdir={tmp_path}", *options, *more, SCRIPT, *places, str(listed)),
        ).strip()
        where = Path(scratch or tmp_path / "work")
        wait_for(lambda: len(list(where.rglob("started"))) == 2)
        return job

    return run


def _attempts(tmp_path: Path) -> list[int]:
    files = sorted((tmp_path / "work").rglob("attempts"))
    return [len(file.read_text().splitlines()) for file in files]


def _said(tmp_path: Path, job: str, task: int) -> str:
    return (tmp_path / f"shd-bids-{job}_{task}.log").read_text()


def _wait_for_states(slurm: RealSlurm, job: str, *states: str) -> None:
    wait_for(lambda: [slurm.state(f"{job}_{task}") for task in (1, 2)] == [*states])


def test_a_task_near_its_time_limit_is_queued_again_and_no_other(slurm, submit, tmp_path):
    task = 2  # the last task's job has the number of the whole array
    job = submit("--signal=B:TERM@300")
    slurm.call("scontrol", "update", f"jobid={job}_{task}", "TimeLimit=5")
    wait_for(lambda: "goes on" in _said(tmp_path, job, task))
    wait_for(lambda: slurm.state(f"{job}_{task}") == "COMPLETED")
    assert "goes back to the queue" in _said(tmp_path, job, task)
    assert slurm.facts(f"{job}_{task}")["Restarts"] == "1"
    other = 1
    assert slurm.state(f"{job}_{other}") == "RUNNING"
    assert "attempt 2" not in _said(tmp_path, job, other)
    slurm.call("scancel", job)
    wait_for(lambda: slurm.state(f"{job}_{other}") == "CANCELLED")
    assert _attempts(tmp_path) == [1, 2]


def test_tasks_that_make_room_go_on_afterwards(slurm, submit, tmp_path):
    job = submit()
    wrapped = ("--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap", "sleep 1")
    urgent = slurm.call("sbatch", "--parsable", *wrapped).strip()
    wait_for(lambda: slurm.state(urgent) == "COMPLETED")
    _wait_for_states(slurm, job, "COMPLETED", "COMPLETED")
    assert _attempts(tmp_path) == [2, 2]


def test_tasks_that_are_cancelled_save_themselves_and_stay_so(slurm, submit, tmp_path):
    job = submit()
    slurm.call("scancel", job)
    _wait_for_states(slurm, job, "CANCELLED", "CANCELLED")
    wait_for(lambda: len(list(tmp_path.rglob("saved"))) == 2)
    assert _attempts(tmp_path) == [1, 1]


def test_work_on_a_local_disk_is_there_at_the_next_attempt(slurm, submit, tmp_path):
    scratch = tmp_path / "disk"
    scratch.mkdir()
    job = submit("--signal=B:TERM@300", scratch=str(scratch))
    for task in (1, 2):
        slurm.call("scontrol", "update", f"jobid={job}_{task}", "TimeLimit=5")
    _wait_for_states(slurm, job, "COMPLETED", "COMPLETED")
    assert "goes on" in _said(tmp_path, job, 1)
    assert [file for file in scratch.rglob("*") if file.is_file()] == []
    assert list((tmp_path / "work").iterdir()) == []


def test_a_task_whose_time_is_over_without_a_warning_is_ended_by_slurm(slurm, submit, tmp_path):
    job = submit("--signal=B:USR2@1")  # not the one that the script waits for
    slurm.call("scontrol", "update", f"jobid={job}_1", "TimeLimit=1")
    wait_for(lambda: slurm.state(f"{job}_1") in ("TIMEOUT", "FAILED"))
    slurm.call("scancel", job)
    wait_for(lambda: slurm.state(f"{job}_2") == "CANCELLED")
    assert "DUE TO TIME LIMIT" in _said(tmp_path, job, 1) or slurm.state(f"{job}_1") == "FAILED"
