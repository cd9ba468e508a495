"""Run a graph with a Slurm job per large step; small steps run here.

It takes the arguments of nipype's own SLURM plugin, which gives up with "results file does not
exist" whatever has become of a job, asks the controller for each job at every turn, and puts the
paths of the work directory into a command line for a shell. Here Slurm is asked for all jobs at
once, what it says of a job that has ended without a result is told, and nothing reaches a shell.
"""

import logging
import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from time import monotonic
from typing import Any

import numpy as np

from shd_bids.errors import ConfigError

from .node_job import JobFiles, NodeJob, read_pickle, write_pickle
from .plugin import ResilientPlugin, readable_name
from .signals import raise_if_interrupted
from .slurm_job import Job, describe_end
from .slurm_queue import (
    JobState,
    SubmissionError,
    cancel,
    look_up,
    option_names,
    script_text,
    submit,
    wait_for_end,
)
from .task import TaskSettings, failed_result
from .usage import StepUse

LOGGER = logging.getLogger(__name__)
_SMALL_GB = 0.5  # steps up to this, with one thread, are not worth a job
_BASE_GB = 1.5  # Python with its libraries, which local steps share
_RESULT_SECONDS = 1.0  # between two looks at the folder of results
_GRACE_SECONDS = 60.0  # until a file that another machine has written is seen here
_CANCEL_SECONDS = 60.0
_LONGEST_STEM = 150
_COMPLAIN_SECONDS = 300.0
_PASSED_ON = re.compile(r".*_NUM_THREADS|NIPYPE_.*|MPLBACKEND|PYTHONPATH|TEMPLATEFLOW_.*|FSL.*")
_HELD = re.compile(r"held|Held|DependencyNeverSatisfied|BadConstraints|PartitionTimeLimit")


class SlurmPlugin(ResilientPlugin):
    """ResilientPlugin whose large nodes are jobs.

    Parameters
    ----------
    arguments
        ``sbatch_args``, ``template``, ``max_jobs``, ``max_tries`` and ``retry_timeout`` of
        nipype's SLURM plugin, and ``poll_seconds`` between two questions to the controller.
    jobs_dir
        Where jobs and their results are kept, on a file system that all machines share.
    n_procs, memory_gb, settings, on_step
        As for `ResilientPlugin`: of the small nodes, which run here.
    """

    def __init__(
        self,
        *,
        arguments: Mapping[str, Any],
        jobs_dir: Path,
        n_procs: int,
        memory_gb: float,
        settings: TaskSettings | None = None,
        on_step: Callable[[str, StepUse], None] | None = None,
    ) -> None:
        super().__init__(n_procs=n_procs, memory_gb=memory_gb, settings=settings, on_step=on_step)
        self._jobs_dir = jobs_dir
        self._sbatch_args: list[str] = list(arguments.get("sbatch_args", []))
        self._template = _read_template(str(arguments.get("template", "#!/bin/bash")))
        self._max_jobs = int(arguments.get("max_jobs", sys.maxsize))
        self._max_tries = int(arguments.get("max_tries", 3))
        self._retry_seconds = float(arguments.get("retry_timeout", 2))
        self._poll_seconds = float(arguments.get("poll_seconds", 10))
        self._jobs: dict[int, Job] = {}
        self._results: set[Path] = set()  # of jobs that have ended
        self._looked = self._asked = -math.inf
        self._look_seconds = 0.0  # that the last one took
        self._unanswered: float | None = None  # since when Slurm does not answer

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Run the nodes of a graph; what does not depend on a failure is run to the end."""
        self._end_earlier_jobs({node.fullname for node in graph.nodes()})
        execution = {**config["execution"], "poll_sleep_duration": "0.2"}
        super().run(graph, {**config, "execution": execution}, updatehash=updatehash)

    def _end_earlier_jobs(self, node_names: set[str]) -> None:
        """Cancel the jobs of a run that was killed: two of one node would write the same files."""
        own = {self._folder(name) for name in node_names}
        known = {
            file.read_text(encoding="utf-8").strip(): file
            for folder in own
            for file in sorted(folder.glob("*.id"))
        }
        numbers = [number for number in known if number.isdigit()]
        states = look_up(numbers) or {}
        alive = [number for number, state in states.items() if not state.has_ended]
        if alive:
            LOGGER.warning("Cancelling the jobs of an earlier run: %s.", ", ".join(alive))
            cancel(alive)
            wait_for_end(alive, _CANCEL_SECONDS)
        for file in known.values():
            file.unlink(missing_ok=True)

    def _send_procs_to_workers(self, updatehash: bool = False, graph: Any = None) -> None:
        raise_if_interrupted()
        ready = np.flatnonzero(~self.proc_done & (self.depidx.sum(axis=0) == 0).__array__())
        for jobid in super()._sort_jobs(ready):
            node = self.procs[jobid]
            if not is_large(node):
                continue
            if len(self._jobs) >= self._max_jobs:
                break
            self.proc_done[jobid] = self.proc_pending[jobid] = True
            if self._local_hash_check(int(jobid), graph):
                continue
            self._note_status(node, "start")
            self.pending_tasks.insert(0, (self._submit_job(deepcopy(node), updatehash), jobid))
        super()._send_procs_to_workers(updatehash=updatehash, graph=graph)

    def _longest_wait_s(self) -> float:
        """Give how long nothing can happen but the end of a local step, in seconds."""
        return _RESULT_SECONDS if self._jobs else super()._longest_wait_s()

    def _sort_jobs(self, jobids: Any, scheduler: str = "tsort") -> Any:
        """Leave to this machine what is small."""
        local = [jobid for jobid in jobids if not is_large(self.procs[jobid])]
        return super()._sort_jobs(local, scheduler=scheduler)

    def _check_resources(self, running_tasks: Any) -> Any:
        """Count what runs on this machine."""
        local = [task for task in running_tasks if task[0] not in self._jobs]
        return super()._check_resources(local)

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        if not is_large(node):
            return super()._submit_job(node, updatehash)
        self._taskid += 1
        folder = self._folder(node.fullname)
        folder.mkdir(parents=True, exist_ok=True)
        files = JobFiles(folder, _file_stem(node.fullname))
        for old in (files.result, files.said, files.log):
            old.unlink(missing_ok=True)
        content = NodeJob(
            node,
            updatehash,
            self._workflow_of(node.fullname),
            self._settings.verbosity,
            self._settings.monitor_file is not None,
        )
        write_pickle(content, files.job)
        command = [sys.executable, "-m", "shd_workflows.node_job", str(files.job)]
        passed = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
        files.script.write_text(script_text(self._template, passed, command), encoding="utf-8")
        job = self._jobs[self._taskid] = Job(node.fullname, files)
        try:
            job.number = submit(
                files.script,
                self._options(node, files),
                max_tries=self._max_tries,
                wait_seconds=self._retry_seconds,
            )
        except SubmissionError as error:
            job.refused = str(error)
        else:
            files.number.write_text(job.number, encoding="utf-8")
            LOGGER.info("%s: is Slurm's job %s", readable_name(node.fullname), job.number)
        return self._taskid

    def _options(self, node: Any, files: JobFiles) -> list[str]:
        """Write the options of sbatch: what the node needs, unless the user says otherwise."""
        given = option_names(self._sbatch_args, self._template)
        options = {
            "--job-name": f"shd-bids {readable_name(node.fullname)}",
            "--output": str(files.said).replace("%", "%%"),
            "--open-mode": "append",
            "--chdir": str(files.folder),
            "--nodes": "1",
            "--ntasks": "1",
            "--cpus-per-task": str(node.n_procs),
            "--mem": f"{math.ceil((node.mem_gb + _BASE_GB) * 1e9 / 2**20)}M",
        }
        if n_gpu := count_gpus(node):
            options["--gres"] = f"gpu:{n_gpu}"
        if {"--mem-per-cpu", "--mem-per-gpu"} & given:
            del options["--mem"]
        if any(name.startswith("--gpus") for name in given):
            options.pop("--gres", None)
        own = [f"{name}={value}" for name, value in options.items() if name not in given]
        return [*own, *self._sbatch_args]

    def _get_result(self, taskid: int) -> dict[str, Any] | None:
        job = self._jobs.get(taskid)
        if job is None:
            return super()._get_result(taskid)
        if job.refused:
            message = (
                f"Slurm did not take the job: {job.refused}. Try `sbatch --test-only "
                f"{job.files.script}` on this machine, and see sbatch_args of --use-plugin."
            )
            return failed_result(taskid, message)
        self._look()
        if job.files.result in self._results:
            self._pass_on(job)
            try:
                result, self._peaks_gb[job.node_name], seconds = read_pickle(job.files.result)
            except (OSError, EOFError, IndexError, UnpicklingError) as error:  # a disk lost it
                said = f"{job.files.result} cannot be read: {error}. The same command runs it again"
                return failed_result(taskid, f"{said}.")
            self._started[job.node_name] = monotonic() - seconds  # without the time in the queue
            return dict(result)
        if job.ended is None:
            return None
        grace = _GRACE_SECONDS if job.state.name in ("COMPLETED", "") else _RESULT_SECONDS
        if monotonic() - job.ended <= grace or self._looked <= job.ended:
            return None
        self._pass_on(job)
        return failed_result(taskid, describe_end(job))

    def _look(self) -> None:
        """Look for results, and now and then ask Slurm for the jobs that have none."""
        started = monotonic()
        if started - self._looked < max(_RESULT_SECONDS, self._look_seconds):
            return
        folders = {job.files.folder for job in self._jobs.values()}
        # Listing makes a network file system look anew, which asking for one name does not.
        self._results = {file for folder in folders for file in folder.glob("*.result.pkl")}
        now = self._looked = monotonic()
        self._look_seconds = now - started
        if now - self._asked < self._poll_seconds:
            return
        self._asked = now
        open_jobs = [
            job
            for job in self._jobs.values()
            if job.number and job.ended is None and job.files.result not in self._results
        ]
        states = look_up(job.number for job in open_jobs)
        if states is None:
            self._complain(now)
            return
        self._unanswered = None
        for job in open_jobs:
            self._note_state(job, states[job.number])

    def _complain(self, now: float) -> None:
        """Say now and then that Slurm does not answer; jobs go on meanwhile, and results come."""
        if self._unanswered is None or now - self._unanswered > _COMPLAIN_SECONDS:
            LOGGER.warning("squeue does not answer; asking again until it does.")
            self._unanswered = now

    def _note_state(self, job: Job, state: JobState) -> None:
        if state == job.state:
            return
        earlier, job.state = job.state, state
        if state.has_ended:
            job.ended = monotonic()
            return
        name = readable_name(job.node_name)
        if state.name != earlier.name:
            LOGGER.info("%s: job %s is %s", name, job.number, state.name)
        if _HELD.search(state.reason) or state.name in ("REQUEUE_HOLD", "SPECIAL_EXIT"):
            LOGGER.warning(
                "%s: job %s will not start as it is (%s): see `scontrol show job %s`; the step "
                "fails if you cancel it.",
                *(name, job.number, state.reason, job.number),
            )

    def _clear_task(self, taskid: int) -> None:
        job = self._jobs.pop(taskid, None)
        if job is None:
            super()._clear_task(taskid)
            return
        job.files.number.unlink(missing_ok=True)
        job.files.job.unlink(missing_ok=True)
        if job.files.result.exists():  # what Slurm said of others is kept
            for file in (job.files.result, job.files.script, job.files.said, job.files.log):
                file.unlink(missing_ok=True)

    def _pass_on(self, job: Job) -> None:
        """Say what a job said, on the screen and in the participant's log."""
        if job.files.said.is_file():
            sys.stdout.write(job.files.said.read_text(encoding="utf-8", errors="replace"))
        log_file = self._settings.log_files.get(self._workflow_of(job.node_name))
        if log_file is not None and job.files.log.is_file():
            with suppress(OSError), log_file.open("a", encoding="utf-8") as log:  # a full disk
                log.write(job.files.log.read_text(encoding="utf-8", errors="replace"))

    def stop(self) -> None:
        """End what still runs, here and on other machines; a training saves itself first."""
        numbers = [job.number for job in self._jobs.values() if job.number]
        if numbers:
            LOGGER.info("Cancelling %d job(s) of Slurm.", len(numbers))
            cancel(numbers)
        super().stop()
        if numbers:
            wait_for_end(numbers, _CANCEL_SECONDS)
        for taskid, job in list(self._jobs.items()):
            self._pass_on(job)
            self._clear_task(taskid)

    def _workflow_of(self, node_name: str) -> str:
        """Name the workflow whose log a node writes to."""
        parts = node_name.split(".")
        return next((name for name in self._settings.log_files if name in parts), parts[0])

    def _folder(self, node_name: str) -> Path:
        return self._jobs_dir / self._workflow_of(node_name)


def is_large(node: Any) -> bool:
    """Tell whether a node is worth a job of its own."""
    if node.run_without_submitting:
        return False
    return bool(node.n_procs > 1 or node.mem_gb > _SMALL_GB or count_gpus(node))


def count_gpus(node: Any) -> int:
    """Count the cards that a node uses."""
    inputs = node.inputs
    if getattr(inputs, "device", None) != "cuda":
        return int(node.is_gpu_node())
    gpus = getattr(inputs, "gpus", None)
    return max(1, len(gpus)) if isinstance(gpus, list | tuple) else 1


def _file_stem(node_name: str) -> str:
    """Name the files of a node's job; of a long name a digest and the end, which tells most."""
    plain = re.sub(r"[^\w.-]", "-", node_name)
    if len(plain) <= _LONGEST_STEM:
        return plain
    return f"{sha256(node_name.encode()).hexdigest()[:12]}_{plain[-_LONGEST_STEM:]}"


def _read_template(template: str) -> str:
    """Give the head of a batch script, which may be given as a file."""
    if template.startswith("#") or "\n" in template:
        text = template
    elif Path(template).is_file():
        text = Path(template).read_text(encoding="utf-8")
    else:
        raise ConfigError(
            f"--use-plugin: the template {template!r} is no file. Give the head of a batch script "
            "that begins with #!, or the absolute path of a file that holds it."
        )
    return text if text.startswith("#!") else f"#!/bin/bash\n{text}"
