"""Slurm's queue: jobs in, states out; every word is an argument of its own, none for a shell."""

import logging
import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

LOGGER = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 60.0
_ENDED = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("PREEMPTED", "REVOKED", "TIMEOUT"),
)
#: What it takes to say the same as the short options that users write.
_SHORT = {"-c": "--cpus-per-task", "-G": "--gpus", "-o": "--output", "-J": "--job-name"}


@dataclass(frozen=True)
class JobState:
    """What Slurm says of a job.

    Attributes
    ----------
    name
        Slurm's word; empty where it does not know the job any more.
    reason
        Why it waits or how it ended, ``None`` if there is none.
    exit_code
        Of the job, as a shell gives it.
    """

    name: str = ""
    reason: str = "None"
    exit_code: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether the job will not run any more."""
        return not self.name or self.name in _ENDED


class SubmissionError(Exception):
    """Slurm does not take a job."""


def option_names(words: Sequence[str], template: str = "") -> set[str]:
    r"""List the options that a user gives to sbatch, in their long form.

    Parameters
    ----------
    words
        Of the command line.
    template
        Head of a batch script, with lines ``#SBATCH``.

    Examples
    --------
    >>> sorted(option_names(["-c4", "--mem=2G"], "#!/bin/bash\n#SBATCH --gres gpu:1"))
    ['--cpus-per-task', '--gres', '--mem']
    """
    lines = re.findall(r"^#SBATCH\s+(.*)$", template, re.MULTILINE)
    given = [*words, *(word for line in lines for word in line.split())]
    names = {word.split("=")[0] for word in given if word.startswith("--")}
    return names | {_SHORT[word[:2]] for word in given if word[:2] in _SHORT}


def submit(
    script_file: Path, options: Sequence[str], *, max_tries: int = 3, wait_seconds: float = 2.0
) -> str:
    """Submit a batch script and give the number of its job.

    Parameters
    ----------
    script_file
        The batch script.
    options
        Of sbatch.
    max_tries
        A busy controller refuses now and then.
    wait_seconds
        Between two tries.

    Raises
    ------
    SubmissionError
        With Slurm's own words.
    """
    said = ""
    for turn in range(max_tries):
        if turn:
            sleep(wait_seconds)
        done = _call(["sbatch", "--parsable", *options, str(script_file)])
        number = done.stdout.strip().splitlines()[-1:] if done.returncode == 0 else []
        if number and (found := re.match(r"\d+", number[0])):
            return found.group()
        said = " ".join((done.stderr or done.stdout).split())
    raise SubmissionError(said or "sbatch gave no number of a job")


def look_up(job_ids: Iterable[str]) -> dict[str, JobState] | None:
    """Ask for the states of jobs; None when Slurm does not answer.

    Parameters
    ----------
    job_ids
        Numbers of jobs, asked for in one call.

    Returns
    -------
    dict or None
        By number; those that Slurm does not know any more have a state without a name.
    """
    wanted = sorted(set(job_ids), key=int)
    if not wanted:
        return {}
    form = "JobID:|,State:|,exit_code:|,Reason:|"
    asked = ["--noheader", "--states=all", "--jobs", ",".join(wanted), "--Format", form]
    done = _call(["squeue", *asked])
    if done.returncode and "Invalid job id" not in done.stderr:
        return None
    states = dict.fromkeys(wanted, JobState())
    for line in done.stdout.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) >= 4 and fields[0] in states:
            states[fields[0]] = JobState(fields[1], fields[3], _shell_code(fields[2]))
    return states


def _shell_code(said: str) -> int:
    """Understand a status as the system gives it, or as code and signal.

    Examples
    --------
    >>> _shell_code("36608"), _shell_code("9"), _shell_code("0:9"), _shell_code("1:0")
    (143, 137, 137, 1)
    """
    code, _, number = said.partition(":")
    if not code.isdigit():
        return 0
    exit_code, killer = (int(code), number) if number else (int(code) >> 8, str(int(code) & 127))
    return exit_code or (128 + int(killer) if killer.isdigit() and int(killer) else 0)


def cancel(job_ids: Iterable[str]) -> None:
    """Cancel jobs: Slurm sends SIGTERM, and SIGKILL half a minute later.

    Parameters
    ----------
    job_ids
        Numbers of jobs.
    """
    wanted = sorted(set(job_ids), key=int)
    done = _call(["scancel", *wanted])
    if done.returncode:
        LOGGER.warning("scancel %s: %s", " ".join(wanted), " ".join(done.stderr.split()))


def wait_for_end(job_ids: Iterable[str], wait_seconds: float) -> None:
    """Wait until the processes of jobs have ended.

    Parameters
    ----------
    job_ids
        Numbers of jobs.
    wait_seconds
        At most.
    """
    wanted = sorted(set(job_ids), key=int)
    end = monotonic() + wait_seconds
    while monotonic() < end:
        states = look_up(wanted)
        if states is not None and all(state.has_ended for state in states.values()):
            return
        sleep(0.5)
    LOGGER.warning("Slurm has not ended the jobs %s yet.", ", ".join(wanted))


def script_text(template: str, environment: Mapping[str, str], command: Sequence[str]) -> str:
    """Write a batch script.

    Parameters
    ----------
    template
        Its head, such as lines ``#SBATCH`` and ``module load``.
    environment
        Variables that the command needs, also where sbatch passes none on.
    command
        What the job is.

    Examples
    --------
    >>> print(script_text("#!/bin/bash", {"A": "b c"}, ["run", "$HOME; rm x"]), end="")
    #!/bin/bash
    export A='b c'
    exec run '$HOME; rm x'
    """
    lines = [template.rstrip("\n")]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return "\n".join([*lines, f"exec {shlex.join(command)}"]) + "\n"


def _call(command: list[str]) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_SECONDS,
            check=False,
            start_new_session=True,  # Ctrl-C is for us
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
