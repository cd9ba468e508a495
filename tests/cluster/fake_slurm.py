"""A Slurm that is a folder of files and runs its jobs at once on this machine.

This file is installed as sbatch, squeue, scancel and scontrol; what one is called with is kept.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol")


def install(folder: Path) -> dict[str, str]:
    """Install the programs and give the variables that make others find them."""
    (folder / "bin").mkdir(parents=True)
    (folder / "jobs").mkdir()
    for name in PROGRAMS:
        file = folder / "bin" / name
        body = Path(__file__).read_text(encoding="utf-8")
        file.write_text(f"#!{sys.executable} -SE\n{body}", encoding="utf-8")
        file.chmod(0o755)
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    return {"PATH": path, "FAKE_SLURM": str(folder)}


def calls(folder: Path, program: str) -> list[list[str]]:
    """Give the arguments of each call of a program."""
    file = folder / f"{program}.calls"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def set_state(folder: Path, number: str, **fields: object) -> None:
    """Change what Slurm says of a job."""
    file = folder / "jobs" / f"{number}.json"
    job = {**json.loads(file.read_text()), **fields}
    half = file.with_suffix(f".{os.getpid()}")
    half.write_text(json.dumps(job))
    half.replace(file)


def read_jobs(folder: Path) -> dict[str, dict]:
    """Read the jobs by number."""
    files = sorted((folder / "jobs").glob("*.json"))
    return {file.stem: json.loads(file.read_text()) for file in files}


def _sbatch(folder: Path, words: list[str]) -> int:
    if (folder / "refuse").exists():
        _say("sbatch: error: " + (folder / "refuse").read_text())
        return 1
    options = dict(word.split("=", 1) for word in words if word.startswith("--") and "=" in word)
    script = next(word for word in reversed(words) if not word.startswith("--"))
    number = str(len(list((folder / "jobs").glob("*.json"))) + 1)
    job = {
        "state": "PENDING",
        "reason": "None",
        "status": 0,
        "script": script,
        "output": options["--output"].replace("%%", "%"),
        "chdir": options["--chdir"],
        "name": options["--job-name"],
    }
    (folder / "jobs" / f"{number}.json").write_text(json.dumps(job))
    if not (folder / "hold").exists():
        start(folder, number)
    _say(number)
    return 0


def start(folder: Path, number: str) -> None:
    """Start a job, by a process that notes how it ends."""
    subprocess.Popen(
        [str(folder / "bin" / "sbatch"), "--run-job", number],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "FAKE_SLURM": str(folder)},
    )


def _run(folder: Path, number: str) -> int:
    job = read_jobs(folder)[number]
    with Path(job["output"]).open("a") as output:
        child = subprocess.Popen(
            ["bash", job["script"]], cwd=job["chdir"], stdout=output, stderr=output
        )
    set_state(folder, number, state="RUNNING", pid=child.pid)
    code = child.wait()
    set_state(folder, number, code=code)
    if read_jobs(folder)[number]["state"] == "RUNNING":
        status = -code if code < 0 else code << 8
        set_state(folder, number, state="FAILED" if code else "COMPLETED", status=status)
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _squeue(folder: Path, words: list[str]) -> int:
    if (folder / "silent").exists():
        _say("slurm_load_jobs error: Unable to contact slurm controller")
        return 1
    jobs = read_jobs(folder)
    for number in words[words.index("--jobs") + 1].split(","):
        if number in jobs and jobs[number]["state"] != "FORGOTTEN":
            job = jobs[number]
            _say(f"{number}|{job['state']}|{job['status']}|{job['reason']}|")
    return 0


def _scancel(folder: Path, words: list[str]) -> int:
    for number in words:
        job = read_jobs(folder)[number]
        if job["state"] in ("PENDING", "RUNNING"):
            set_state(folder, number, state="CANCELLED")
        if "pid" in job:
            try:
                os.kill(job["pid"], signal.SIGTERM)
            except ProcessLookupError:
                continue
    return 0


def main() -> int:
    """Do what the program that this file is called does."""
    folder, program, words = Path(os.environ["FAKE_SLURM"]), Path(sys.argv[0]).name, sys.argv[1:]
    if words[:1] == ["--run-job"]:
        return _run(folder, words[1])
    with (folder / f"{program}.calls").open("a") as file:
        file.write(json.dumps(words) + "\n")
    if program == "sbatch":
        return _sbatch(folder, words)
    if program == "squeue":
        return _squeue(folder, words)
    if program == "scancel":
        return _scancel(folder, words)
    return 0


def wait_for(happens, seconds: float = 120.0) -> None:
    """Wait until something happens."""
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
