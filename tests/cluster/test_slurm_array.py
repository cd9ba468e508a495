"""The script for arrays of jobs, with a Slurm and a shd-bids that only keep what they are told."""

import os
import re
import shlex
import signal
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from cluster.fake_slurm import wait_for

SCRIPT = str(files("shd_bids.data").joinpath("slurm_array.sh"))
#: Keeps its arguments, then does what the file "then" says.
KEEPER = """#!/bin/bash
printf '%s\\n' "$@" > "$FAKES/{name}.args"
. "$FAKES/{name}.then"
"""


class Cluster:
    """A folder of programs in the place of Slurm's and of ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bids_dir = folder / "BIDS of 'us' $(exit)"
        self.list = folder / "the list.txt"
        (folder / "bin").mkdir()
        self.bids_dir.mkdir()
        self.list.write_text("sub-01\n02 ses-a\r\nsub-03;rm\n")
        for name in ("shd-bids", "squeue", "scontrol", "apptainer"):
            self.will(name, "true")
            program = folder / "bin" / name
            program.write_text(KEEPER.format(name=name))
            program.chmod(0o755)

    def will(self, name: str, text: str) -> None:
        """Set what a program does."""
        (self.folder / f"{name}.then").write_text(text)

    def told(self, name: str) -> list[str]:
        """Give the arguments that a program was called with; none if it was not."""
        file = self.folder / f"{name}.args"
        return file.read_text().splitlines() if file.exists() else []

    def start(self, task: int = 1, *flags: str, what: str = "", **variables: str):
        """Start a task."""
        environment = {
            "PATH": os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]]),
            "FAKES": str(self.folder),
            "SLURM_JOB_ID": "77",
            **({} if what else {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_JOB_ID": "70"}),
            **variables,
        }
        places = [self.bids_dir, self.folder / "out put", self.folder / "work", what or self.list]
        return subprocess.Popen(
            ["bash", SCRIPT, *map(str, places), *flags],
            env=environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words, **more) -> tuple[int, str]:
        """Run a task to its end."""
        task = self.start(*words, **more)
        said, _ = task.communicate(timeout=120)
        return task.returncode, said

    def terminate(self, state: str, **more) -> tuple[int, str]:
        """Ask a running task to end, when Slurm says that it is in a state."""
        self.will("squeue", f"echo {state}")
        self.will(
            "shd-bids",
            "trap 'echo saved; kill $!; exit 143' TERM; sleep 600 & touch $FAKES/up; wait",
        )
        task = self.start(**more)
        wait_for((self.folder / "up").exists)
        task.send_signal(signal.SIGTERM)
        said, _ = task.communicate(timeout=120)
        return task.returncode, said


@pytest.fixture
def cluster(tmp_path) -> Cluster:
    return Cluster(tmp_path)


def test_the_program_prints_the_script_that_is_shipped():
    command = [sys.executable, "-m", "shd_bids.cli.slurm"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == Path(SCRIPT).read_text()


def test_bash_can_read_the_script():
    subprocess.run(["bash", "-n", SCRIPT], check=True)


@pytest.mark.needs_tool("shellcheck")
def test_shellcheck_finds_nothing():
    done = subprocess.run(["shellcheck", SCRIPT], capture_output=True, text=True)
    assert done.stdout == ""


def test_a_task_is_one_line_of_the_list_and_no_word_is_split(cluster):
    code, said = cluster.run(1, "--bids-filter-file", "a b.json")
    assert code == 0, said
    work = str(cluster.folder / "work/sub-01")
    assert cluster.told("shd-bids") == [
        *(str(cluster.bids_dir), str(cluster.folder / "out put"), "participant"),
        *("--participant-label", "01", "--work-dir", work, "--bids-filter-file", "a b.json"),
    ]
    assert cluster.told("scontrol") == []


def test_a_line_may_name_a_session_which_has_a_work_directory_of_its_own(cluster):
    assert cluster.run(2)[0] == 0
    assert cluster.told("shd-bids")[3:] == [
        *("--participant-label", "02", "--session-label", "a"),
        *("--work-dir", str(cluster.folder / "work/sub-02_ses-a")),
    ]


def test_the_group_level_needs_no_array(cluster):
    assert cluster.run(what="group")[0] == 0
    told = cluster.told("shd-bids")
    assert told[2:] == ["group", "--work-dir", str(cluster.folder / "work/group")]


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (3, "labels are letters and digits"),
        (4, "line 4 of .* is empty; give sbatch --array=1-N"),
    ],
)
def test_a_line_that_is_no_participant_is_refused(cluster, task, said):
    code, text = cluster.run(task)
    assert code == 2
    assert re.search(said, text)
    assert cluster.told("shd-bids") == []


def test_a_job_that_is_no_array_is_told_so(cluster):
    code, said = cluster.run(what=str(cluster.list))
    assert code == 2
    assert "give sbatch --array=1-N" in said


@pytest.mark.parametrize("code", [1, 2, 137])
def test_the_exit_code_is_kept(cluster, code):
    cluster.will("shd-bids", f"exit {code}")
    assert cluster.run()[0] == code
    assert cluster.told("scontrol") == []


def test_near_its_time_limit_a_task_saves_itself_and_is_queued_again(cluster):
    code, said = cluster.terminate("RUNNING")
    assert code == 143
    assert "saved" in said
    # by the number of the task: the one of the job is that of the whole array in its last task
    assert cluster.told("squeue")[:3] == ["--noheader", "--jobs", "70_1"]
    assert cluster.told("scontrol") == ["requeue", "70_1"]


def test_the_group_level_is_queued_again_by_its_own_number(cluster):
    cluster.terminate("RUNNING", what="group")
    assert cluster.told("scontrol") == ["requeue", "77"]


@pytest.mark.parametrize("state", ["COMPLETING", "CANCELLED", "PREEMPTED", "PENDING", ""])
def test_what_slurm_ends_itself_is_not_queued_again(cluster, state):
    code, said = cluster.terminate(state)
    assert code == 143
    assert "saved" in said
    assert cluster.told("scontrol") == []


def test_a_task_that_never_gets_anywhere_is_not_queued_for_ever(cluster):
    code, said = cluster.terminate("RUNNING", SLURM_RESTART_COUNT="2", SHD_BIDS_RESTARTS="2")
    assert code == 143
    assert "give more --time" in said
    assert cluster.told("scontrol") == []


def test_work_on_a_local_disk_is_kept_until_the_task_has_finished(cluster):
    scratch, kept = cluster.folder / "local disk", cluster.folder / "work/sub-01"
    cluster.will("shd-bids", 'd=${@: -1}; pwd > "$d/done"; echo "$d" > "$FAKES/place"; exit 143')
    variables = {"SHD_BIDS_SCRATCH": str(scratch)}
    assert cluster.run(**variables)[0] == 143
    place = (cluster.folder / "place").read_text()
    assert place.startswith(f"{scratch}/")
    assert (kept / "done").exists()
    assert not Path(place.strip()).exists()
    written = (kept / "done").stat().st_mtime_ns
    cluster.will(
        "shd-bids", 'd=${@: -1}; cp -a "$d/done" "$FAKES/found"; echo "$d" > "$FAKES/place"; exit 1'
    )
    assert cluster.run(**variables)[0] == 1
    assert (cluster.folder / "found").stat().st_mtime_ns == written
    assert (cluster.folder / "place").read_text() == place
    cluster.will("shd-bids", "exit 0")
    assert cluster.run(**variables)[0] == 0
    assert list((cluster.folder / "work").iterdir()) == []
    assert [file for file in scratch.rglob("*") if file.is_file()] == []


def test_a_copy_that_was_cut_short_is_not_taken_for_the_work(cluster):
    scratch, work = cluster.folder / "disk", cluster.folder / "work"
    (work / "sub-01.old").mkdir(parents=True)
    (work / "sub-01.old/whole").touch()
    (work / "sub-01.new").mkdir()
    cluster.will("shd-bids", 'ls "${@: -1}" > "$FAKES/found"')
    assert cluster.run(SHD_BIDS_SCRATCH=str(scratch))[0] == 0
    assert (cluster.folder / "found").read_text() == "whole\n"


def test_an_image_is_run_with_the_three_folders_and_what_slurm_allows(cluster):
    image = cluster.folder / "shd bids.sif"
    image.touch()
    code, said = cluster.run(
        1,
        "--level",
        "fod",
        SHD_BIDS_IMAGE=str(image),
        SLURM_CPUS_PER_TASK="4",
        SLURM_MEM_PER_NODE="8000",
        CUDA_VISIBLE_DEVICES="1",
    )
    assert code == 0, said
    out, work = cluster.folder / "out put", cluster.folder / "work/sub-01"
    assert cluster.told("apptainer") == [
        *("run", "--cleanenv", "--bind", f"{cluster.bids_dir}:{cluster.bids_dir}:ro"),
        *("--bind", f"{out}:{out}", "--bind", f"{work}:{work}"),
        *("--env", "SLURM_CPUS_PER_TASK=4", "--env", "SLURM_MEM_PER_NODE=8000"),
        *("--env", "CUDA_VISIBLE_DEVICES=1", "--nv", str(image)),
        *(str(cluster.bids_dir), str(out), "participant", "--participant-label", "01"),
        *("--work-dir", str(work), "--level", "fod"),
    ]


def test_the_command_that_is_told_can_be_given_again(cluster):
    _, said = cluster.run()
    line = said.splitlines()[1].removeprefix("shd-bids array: ")
    assert shlex.split(line)[1:] == cluster.told("shd-bids")
