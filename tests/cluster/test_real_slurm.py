"""A real Slurm of one node: arrays, time limits, preemption, and a job per step."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from cluster.real_slurm import RealSlurm, wait_for

pytestmark = pytest.mark.slow
SCRIPT = str(files("shd_bids.data").joinpath("slurm_array.sh"))
N_STEP = 60  # after a fifth of them there are tests that wait for Slurm
FLAGS = (
    *("--level", "fod", "--fod-model", "shd-tv", "--shd-preset", "fast", "--shd-steps", N_STEP),
    *("--lmax", "4", "--device", "cpu", "--omp-nthreads", "1", "--skip-anat", "--hmc", "none"),
    *("--denoise-method", "none", "--unringing-method", "none", "--bias-correction", "none"),
    *("--mask-method", "none", "--sdc", "none"),
)
SHORT = (*FLAGS, "--fod-model", "csd")
STEP = re.compile(r"Step (\d+) of")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory) -> Iterator[RealSlurm]:
    slurm = RealSlurm(tmp_path_factory.mktemp("slurm"))
    yield slurm
    slurm.stop()


@pytest.fixture(scope="module")
def bids_dir(tiny_phantom_dir, tmp_path_factory) -> Path:
    """Two participants, and one whose image is cut short; a path that a shell would split."""
    bids_dir = tmp_path_factory.mktemp("the data of $USER") / "bids"
    shutil.copytree(tiny_phantom_dir, bids_dir)
    for label in ("02", "03"):
        for file in sorted((bids_dir / "sub-01").rglob("*.*")):
            path = str(file.relative_to(bids_dir)).replace("sub-01", f"sub-{label}")
            (bids_dir / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, bids_dir / path)
    image = bids_dir / "sub-03/dwi/sub-03_dwi.nii.gz"
    image.write_bytes(image.read_bytes()[:2000])
    table = "participant_id\n" + "".join(f"sub-{label}\n" for label in ("01", "02", "03"))
    (bids_dir / "participants.tsv").write_text(table)
    return bids_dir


@pytest.fixture(scope="module")
def undisturbed(bids_dir, tmp_path_factory) -> dict[str, str]:
    """Give what an undisturbed run of a participant leaves."""
    root = tmp_path_factory.mktemp("undisturbed")
    done = _run(bids_dir, root, *FLAGS)
    assert done.returncode == 0, done.stdout + done.stderr
    return _digests(root / "out")


def _command(bids_dir: Path, root: Path, *flags: object) -> list[str]:
    program = [sys.executable, "-m", "shd_bids.cli.run", bids_dir, root / "out", "participant"]
    more = ["-w", root / "work", "--participant-label", "01", *flags]
    return [str(word) for word in (*program, *more)]


def _run(bids_dir: Path, root: Path, *flags: object, **options: object):
    command = _command(bids_dir, root, *flags)
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def _digests(out: Path) -> dict[str, str]:
    """Digest what must be the same bit by bit: weights, and the values of all images."""
    import nibabel as nib

    found = {}
    for file in sorted((out / "sub-01").rglob("*")):
        if file.suffix == ".safetensors":
            from safetensors.numpy import load_file

            content = b"".join(value.tobytes() for _, value in sorted(load_file(file).items()))
        elif file.name.endswith(".nii.gz"):
            content = nib.load(file).get_fdata().tobytes()
        else:
            continue
        found[str(file.relative_to(out))] = hashlib.sha256(content).hexdigest()
    assert any(name.endswith(".safetensors") for name in found)
    return found


def _submit(slurm: RealSlurm, bids_dir: Path, root: Path, what: object, *words: object) -> str:
    """Submit the script; options of sbatch come before a ``--``, flags of shd-bids after it."""
    split = words.index("--") if "--" in words else len(words)
    options, flags = words[:split], words[split + 1 :]
    said = slurm.call(
        *("sbatch", "--parsable", "--mem=3G", "--cpus-per-task=1", f"--chdir={root}"),
        *map(str, options),
        *(SCRIPT, str(bids_dir), str(root / "out"), str(root / "work"), str(what)),
        *map(str, flags),
    )
    return said.strip()


def _said(root: Path, job: str) -> str:
    return "".join(file.read_text() for file in sorted(root.glob(f"shd-bids-{job}_*.log")))


def _ended(slurm: RealSlurm, job: str) -> bool:
    return slurm.state(job) in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")


def test_an_array_fills_one_dataset_and_a_broken_participant_stops_only_its_own_task(
    slurm, bids_dir, tmp_path
):
    listed = tmp_path / "list.txt"
    listed.write_text("sub-01\nsub-02\nsub-03\n")
    job = _submit(slurm, bids_dir, tmp_path, listed, "--array=1-3", "--", *SHORT)
    options = (f"--dependency=afterany:{job}", "--output=group.log")
    group = _submit(
        slurm, bids_dir, tmp_path, "group", *options, "--", "--level", "response", "--skip-anat"
    )
    for task in (1, 2, 3):
        wait_for(lambda task=task: _ended(slurm, f"{job}_{task}"))
    said = _said(tmp_path, job)
    assert [slurm.state(f"{job}_{task}") for task in (1, 2, 3)] == [
        *("COMPLETED", "COMPLETED", "FAILED"),
    ], said
    assert slurm.facts(f"{job}_3")["ExitCode"] == "1:0"
    assert "shd-bids finished: 0 of 1 participant(s); failed: sub-03." in said
    assert said.count("by SLURM_") >= 3  # what Slurm allows is kept to
    pages = sorted(file.name for file in (tmp_path / "out").glob("sub-*.html"))
    assert pages == ["sub-01.html", "sub-02.html", "sub-03.html"]
    wait_for(lambda: _ended(slurm, group))
    assert (
        "group of 3 participant(s), 2 series; left out: sub-03"
        in (tmp_path / "group.log").read_text()
    )
    if shutil.which("bids-validator-deno"):
        command = ["bids-validator-deno", "--format", "json", str(tmp_path / "out")]
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        issues = json.loads(found)["issues"]["issues"]
        assert [issue for issue in issues if issue["severity"] == "error"] == []


def _train(slurm: RealSlurm, bids_dir: Path, root: Path, *options: object) -> str:
    """Submit a task that trains, and wait until it does."""
    listed = root / "list.txt"
    listed.write_text("sub-01\n")
    options = ("--array=1", "--time=60", *options)
    job = _submit(slurm, bids_dir, root, listed, *options, "--", *FLAGS)
    wait_for(lambda: STEP.search(_said(root, job)))
    return job


def _went_on(root: Path, job: str) -> bool:
    """Tell whether the second attempt began where the first was saved."""
    said = _said(root, job)
    saved, resumed = (
        re.search(rf"{what} step (\d+)", said) for what in ("is saved up to", "goes on after")
    )
    return saved is not None and resumed is not None and saved[1] == resumed[1]


def test_a_task_near_its_time_limit_goes_on_from_its_checkpoint(
    slurm, bids_dir, undisturbed, tmp_path
):
    job = _train(slurm, bids_dir, tmp_path, "--signal=B:TERM@300")
    slurm.call("scontrol", "update", f"jobid={job}_1", "TimeLimit=5")
    wait_for(lambda: "goes back to the queue" in _said(tmp_path, job))
    slurm.call("scontrol", "update", f"jobid={job}_1", "TimeLimit=60", check=False)
    wait_for(lambda: _ended(slurm, f"{job}_1"))
    said = _said(tmp_path, job)
    assert slurm.state(f"{job}_1") == "COMPLETED", said
    assert "exit code 143" in said
    assert "attempt 2" in said
    assert _went_on(tmp_path, job), said
    assert _digests(tmp_path / "out") == undisturbed


def test_a_task_that_makes_room_for_others_goes_on_afterwards(
    slurm, bids_dir, undisturbed, tmp_path
):
    job = _train(slurm, bids_dir, tmp_path)
    urgent = slurm.call(
        *("sbatch", "--parsable", "--partition=urgent", "--exclusive", "--output=/dev/null"),
        *("--wrap", "sleep 1"),
    ).strip()
    wait_for(lambda: slurm.state(urgent) == "COMPLETED")
    wait_for(lambda: _ended(slurm, f"{job}_1"))
    said = _said(tmp_path, job)
    assert slurm.state(f"{job}_1") == "COMPLETED", said
    assert slurm.facts(f"{job}_1")["Restarts"] == "1"
    assert _went_on(tmp_path, job), said
    assert _digests(tmp_path / "out") == undisturbed


def test_a_task_that_is_cancelled_stays_so_and_the_same_command_goes_on(
    slurm, bids_dir, undisturbed, tmp_path
):
    job = _train(slurm, bids_dir, tmp_path)
    slurm.call("scancel", job)
    wait_for(lambda: _ended(slurm, f"{job}_1"))
    wait_for(lambda: "ended with exit code 143" in _said(tmp_path, job))
    assert slurm.state(f"{job}_1") == "CANCELLED"
    again = _train(slurm, bids_dir, tmp_path)
    wait_for(lambda: _ended(slurm, f"{again}_1"))
    assert slurm.state(f"{again}_1") == "COMPLETED", _said(tmp_path, again)
    assert slurm.state(f"{job}_1") == "CANCELLED"
    saved = re.search(r"is saved up to step (\d+)", _said(tmp_path, job))
    assert saved is not None
    assert f"goes on after step {saved[1]}." in _said(tmp_path, again)
    assert _digests(tmp_path / "out") == undisturbed


@pytest.fixture
def plugin_file(tmp_path) -> Path:
    file = tmp_path / "plugin.yml"
    file.write_text("plugin: SLURM\nplugin_args: {poll_seconds: 1, sbatch_args: --mem=2G}\n")
    return file


def _numbers(slurm: RealSlurm, step: str) -> list[str]:
    """Give the jobs of a step that have not ended."""
    said = slurm.call("squeue", "-h", "-o", "%A %T %j")
    return [line.split()[0] for line in said.splitlines() if line.endswith(f" {step}")]


def _start(slurm: RealSlurm, bids_dir: Path, root: Path, *flags: object):
    """Start a run whose steps are jobs, and wait until one of them trains."""
    log = (root / "run.log").open("a")
    run = subprocess.Popen(
        _command(bids_dir, root, *FLAGS, *flags), env=slurm.environment, stdout=log, stderr=log
    )
    log.close()
    wait_for(lambda: run.poll() is not None or _numbers(slurm, "fit_fodf"))
    (number,) = _numbers(slurm, "fit_fodf")
    folder = root / "work/jobs"
    wait_for(lambda: any(STEP.search(said.read_text()) for said in folder.rglob("*fit_fodf.out")))
    assert run.poll() is None, "the run ended too early"
    return run, number


def test_a_step_whose_job_is_cancelled_fails_and_the_same_command_goes_on(
    slurm, bids_dir, undisturbed, tmp_path, plugin_file
):
    flags = ("--use-plugin", plugin_file)
    run, number = _start(slurm, bids_dir, tmp_path, *flags)
    slurm.call("scancel", number)
    assert run.wait(timeout=900) == 1
    said = (tmp_path / "run.log").read_text()
    assert f"The Slurm job {number} of" in said
    assert "(CANCELLED" in said
    assert said.strip().endswith("0 of 1 participant(s); failed: sub-01.")
    assert _numbers(slurm, "") == []
    done = _run(bids_dir, tmp_path, *FLAGS, *flags, env=slurm.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    step = STEP.search(done.stdout)
    assert step is not None
    assert int(step.group(1)) > 1
    assert _digests(tmp_path / "out") == undisturbed


def test_a_step_whose_process_is_killed_fails_with_a_hint_at_memory(
    slurm, bids_dir, tmp_path, plugin_file
):
    run, number = _start(slurm, bids_dir, tmp_path, "--use-plugin", plugin_file)
    for line in slurm.call("scontrol", "listpids", number).splitlines()[1:]:
        os.kill(int(line.split()[0]), signal.SIGKILL)
    assert run.wait(timeout=900) == 1
    said = (tmp_path / "run.log").read_text()
    assert "FAILED" in said
    assert "memory ran out" in said
    assert (tmp_path / "out/sub-01.html").exists()


def test_a_step_that_is_queued_again_goes_on_and_the_run_with_it(
    slurm, bids_dir, undisturbed, tmp_path, plugin_file
):
    run, number = _start(slurm, bids_dir, tmp_path, "--use-plugin", plugin_file)
    slurm.call("scontrol", "requeue", number)
    assert run.wait(timeout=900) == 0, (tmp_path / "run.log").read_text()
    assert slurm.facts(number)["Restarts"] == "1"
    assert _digests(tmp_path / "out") == undisturbed


def test_a_run_that_is_terminated_cancels_its_jobs_and_the_same_command_goes_on(
    slurm, bids_dir, undisturbed, tmp_path, plugin_file
):
    run, number = _start(slurm, bids_dir, tmp_path, "--use-plugin", plugin_file)
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=300) == 143
    assert slurm.state(number) == "CANCELLED"
    run, other = _start(slurm, bids_dir, tmp_path, "--use-plugin", plugin_file)
    assert other != number
    run.kill()  # its jobs live on, and the next run ends them before it begins
    run.wait()
    done = _run(bids_dir, tmp_path, *FLAGS, "--use-plugin", plugin_file, env=slurm.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Cancelling the jobs of an earlier run: {other}" in done.stdout
    assert slurm.state(other) == "CANCELLED"
    assert _digests(tmp_path / "out") == undisturbed
