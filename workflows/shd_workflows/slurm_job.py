"""A step as a job of Slurm's: what is known of it, and what is said of its end."""

from dataclasses import dataclass, field

from .node_job import JobFiles
from .slurm_queue import JobState

_ADVICE = {
    "CANCELLED": "Somebody, or the end of this run, cancelled it.",
    "TIMEOUT": "It reached its time limit: give more, as in sbatch_args: --time=12:00:00. A "
    "training goes on from its checkpoint.",
    "OUT_OF_MEMORY": "Give more memory, as in sbatch_args: --mem=32G.",
    "NODE_FAIL": "The machine that it ran on failed.",
    "PREEMPTED": "It had to make room for other jobs; with --requeue it would go on by itself.",
    "DEADLINE": "It could not end before its deadline.",
    "BOOT_FAIL": "The machine for it did not start.",
    "": "It ended so long ago that Slurm does not know it any more.",
}


@dataclass
class Job:
    """A node that was submitted."""

    node_name: str
    files: JobFiles
    number: str = ""
    refused: str = ""  # why it was not submitted
    state: JobState = field(default_factory=lambda: JobState("PENDING"))
    ended: float | None = None  # when it was seen to have ended


def describe_end(job: Job) -> str:
    """Say how a job ended that left no result, and where its words are."""
    state = job.state
    how = state.name or "unknown"
    if state.reason not in ("None", ""):
        how += f", {state.reason}"
    if state.exit_code:
        how += f", exit code {state.exit_code}"
    advice = _ADVICE.get(state.name, "")
    if state.name == "FAILED" and state.exit_code == 137:
        advice = (
            "It was killed; most often memory ran out: give more, as in sbatch_args: --mem=32G."
        )
    elif state.name == "FAILED" and state.exit_code == 143:
        advice = "It was asked to end; a training goes on from its checkpoint."
    said = f" What it said is in {job.files.said}." if job.files.said.is_file() else ""
    return (
        f"The Slurm job {job.number} of {job.node_name} ended without a result ({how}). "
        f"{advice}{said} The same command runs this step again."
    ).replace("  ", " ")
