"""Run a graph with one process per node, so that the death of a process cannot stop the rest.

nipype's own MultiProc waits for ever when a worker is killed, for example by the kernel when
memory runs out. Here every node has a process of its own: when it dies, its node fails with a
crash file, and what does not depend on it goes on. The process gives its memory back at its end,
and its CUDA context with it.
"""

import logging
import multiprocessing
import multiprocessing.connection
import pickle
import re
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from traceback import format_exc
from typing import Any

from nipype.pipeline.engine.utils import write_workflow_resources
from nipype.pipeline.plugins.multiproc import MultiProcPlugin

from shd_bids.bids.space import explain_failure, explain_write_error

from .seals import discard_damaged, seal
from .signals import raise_if_interrupted
from .task import (
    PATIENCE_S,
    Task,
    TaskSettings,
    describe_death,
    describe_refusal,
    failed_result,
    run_task,
)
from .usage import StepUse, tell_excess

LOGGER = logging.getLogger(__name__)
_GRACE_S = 30.0  # for a training to save itself; container engines give 10 s, Slurm 30 s
_LONGEST_WAIT_S = 1.0  # for the end of a step, before looking again
_N_TRY = 3
_QUIET = ("ds_", "describe_")  # nodes of milliseconds
_PRELOADED = ["nipype.pipeline.engine", "shd_bids.interfaces.all"]


@dataclass(frozen=True)
class Failure:
    """A node that failed, and what its user should read."""

    node_name: str
    message: str


class ResilientPlugin(MultiProcPlugin):
    """MultiProc with a fresh process per node.

    Parameters
    ----------
    n_procs
        Processors for all nodes together.
    memory_gb
        Memory for all nodes together.
    settings
        Log files, verbosity and cards of the nodes' processes.
    on_step
        Is told the name of each node that ran, and what it took.

    Attributes
    ----------
    unfinished
        Names of the nodes that have not come to a good end.
    failures
        Nodes that failed.
    used
        Time and memory by the name of each node that ran.
    halted
        Why the graph as a whole could not go on.
    on_end
        Is told the name of each node that has come to a good end, whether it ran or was taken over.
    """

    def __init__(
        self,
        *,
        n_procs: int,
        memory_gb: float,
        settings: TaskSettings | None = None,
        on_step: Callable[[str, StepUse], None] | None = None,
    ) -> None:
        self._settings = settings or TaskSettings()
        self._on_step = on_step
        self.unfinished: set[str] = set()
        self.failures: list[Failure] = []
        self.used: dict[str, StepUse] = {}
        self.halted = ""
        self.on_end: Callable[[str], None] | None = None
        self._started: dict[str, float] = {}
        self._peaks_gb: dict[str, float] = {}
        super().__init__(
            plugin_args={
                "n_procs": n_procs,
                "memory_gb": memory_gb,
                "n_gpu_procs": len(self._settings.gpus),
                "raise_insufficient": False,
                "status_callback": self._note_status,
                "mp_context": "spawn",
            }
        )
        self.pool.shutdown()  # the parent's pool, which never started a process
        # forkserver: processes start in milliseconds from a server that has imported nipype but has
        # neither threads nor a CUDA context
        method = "forkserver" if sys.platform != "darwin" else "spawn"
        self._context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            self._context.set_forkserver_preload(_PRELOADED)
        self._tasks: dict[int, Task] = {}
        self._news = threading.Event()

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Run the nodes of a graph; what does not depend on a failure is run to the end."""
        self.unfinished = {node.fullname for node in graph.nodes()}
        try:
            super().run(graph, config, updatehash=updatehash)
        finally:  # nipype itself writes it only when nothing has failed
            if self._settings.monitor_file is not None:
                write_workflow_resources(graph, str(self._settings.monitor_file), append=False)

    def _send_procs_to_workers(self, updatehash: bool = False, graph: Any = None) -> None:
        raise_if_interrupted()
        before = self._progress()
        super()._send_procs_to_workers(updatehash=updatehash, graph=graph)
        has_replied = any(task.has_replied.is_set() for task in self._tasks.values())
        if not has_replied and self._progress() == before:
            # until a step ends; nipype would look for it again and again, which takes a core
            self._news.wait(self._longest_wait_s())
        self._news.clear()

    def _sort_jobs(self, jobids: Any, scheduler: str = "tsort") -> Any:
        """Take one participant after the other: in nipype's order all begin before one is done."""
        jobids = super()._sort_jobs(jobids, scheduler=scheduler)
        return sorted(jobids, key=lambda jobid: branch_of(self.procs[jobid].fullname))

    def _progress(self) -> tuple[int, int]:
        """Count the nodes that have begun and those that have not ended."""
        return int(self.proc_done.sum()), int(self.proc_pending.sum())

    def _longest_wait_s(self) -> float:
        """Give how long nothing can happen but the end of a step of this machine, in seconds."""
        return _LONGEST_WAIT_S if self._tasks else 0.0

    def _note_status(self, node: Any, status: str) -> None:
        """Keep account of the nodes, and tell the user of those that take time."""
        name = node.fullname
        if status == "start":
            self._started[name] = monotonic()
            if not node.name.startswith(_QUIET):
                LOGGER.info("%s: started", readable_name(name))
            return
        if name in self._started:
            seconds = monotonic() - self._started.pop(name)
            use = StepUse(seconds, self._peaks_gb.get(name), node.mem_gb)
            self.used[name] = use
            tell_excess(readable_name(name), use)
            if self._on_step is not None:
                self._on_step(name, use)
        if status == "end" and all(name != failure.node_name for failure in self.failures):
            if name in self.used and not node.name.startswith(_QUIET):
                LOGGER.info("%s: done in %.1f s", readable_name(name), self.used[name].seconds)
            if name in self.unfinished:
                self.unfinished.remove(name)
                if self.on_end is not None:
                    self.on_end(name)

    def _clean_queue(self, jobid: int, graph: Any, result: Any = None) -> Any:
        name = self.procs[jobid].fullname
        said = _last_error("".join(result["traceback"]) if result else format_exc())
        node = self.procs[jobid]
        work_dir = Path(node.base_dir or node.output_dir())
        said = explain_failure(said, [work_dir, Path(tempfile.gettempdir())])
        message = f"{self.procs[jobid].name} failed: {said}"
        self.failures.append(Failure(name, message))
        LOGGER.error("%s failed: %s", readable_name(name), said)
        return super()._clean_queue(jobid, graph, result=result)

    def _report_crash(self, node: Any, result: Any = None) -> str:
        try:
            return super()._report_crash(node, result=result)
        except OSError as error:  # the others go on; what failed is said at the end
            folder = Path(node.config["execution"]["crashdump_dir"] or ".")
            for half in folder.glob(f"crash-*-{node.name}-*"):
                half.unlink(missing_ok=True)
            LOGGER.error("No crash file: %s", explain_write_error(error, folder))
            return ""

    def _local_hash_check(self, jobid: int, graph: Any) -> bool:
        node = self.procs[jobid]
        discard_damaged(Path(node.output_dir()), readable_name(node.fullname))
        return super()._local_hash_check(jobid, graph)

    def _task_finished_cb(self, jobid: int, cached: bool = False) -> None:
        node = self.procs[jobid]
        if node.run_without_submitting and not cached:  # it ran here, where no task seals it
            seal(Path(node.output_dir()))
        super()._task_finished_cb(jobid, cached=cached)

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid += 1
        gpu = None
        if node.is_gpu_node() and self._settings.gpus:
            busy = [task.gpu for task in self._tasks.values()]
            gpu = next((card for card in self._settings.gpus if card not in busy), None)
        error: Exception | None = None
        for _ in range(_N_TRY):  # the server that starts processes may just have died
            receiver, sender = self._context.Pipe(duplex=False)
            process = self._context.Process(
                target=run_task,
                args=(node, updatehash, self._taskid, sender, self._settings, gpu),
                name=node.name,
            )
            task = Task(process, receiver, sender, node.fullname, gpu, self._news)
            self._tasks[self._taskid] = task  # before it starts: a signal may come in between
            try:
                task.start()
                return self._taskid
            except (OSError, EOFError) as found:
                error = found
                receiver.close()
                sender.close()
        task.reply = pickle.dumps(
            (failed_result(self._taskid, describe_refusal(task, error)), None)
        )
        task.has_replied.set()
        return self._taskid

    def _get_result(self, taskid: int) -> dict[str, Any] | None:
        task = self._tasks[taskid]
        if not task.has_replied.is_set():
            return None
        if task.reply is None:  # the process ended without a word
            task.end(PATIENCE_S)
            return failed_result(taskid, describe_death(task))
        result: dict[str, Any]
        result, self._peaks_gb[task.node_name] = pickle.loads(task.reply)
        return result

    def _clear_task(self, taskid: int) -> None:
        task = self._tasks.pop(taskid)
        task.sender.close()
        task.end(PATIENCE_S)
        if task.is_gone.is_set():
            task.receiver.close()
        if task.process.pid is not None and task.process.exitcode is not None:
            task.process.close()

    def _postrun_check(self) -> None:
        self.stop()

    def stop(self) -> None:
        """End the processes that still run, and with them the programs they started.

        A training is given the time to save itself. Whoever asked for the end and is less patient
        kills this process, and all others with it.
        """
        running = [task for task in self._tasks.values() if task.process.pid is not None]
        for task in running:
            task.process.terminate()
        end = monotonic() + _GRACE_S
        for task in running:
            task.end(max(end - monotonic(), 0.0))
        for taskid in list(self._tasks):
            self._clear_task(taskid)


def readable_name(node_name: str) -> str:
    """Shorten a node's full name: ``sub_01_wf.dwi_wf.preproc_wf.denoise`` to its labels."""
    parts = [part.removesuffix("_wf") for part in node_name.split(".")]
    return " ".join(part for part in parts if part != "shd_bids")


def branch_of(node_name: str) -> str:
    """Give the graph, below the whole one, that a node is in: its participant's.

    Examples
    --------
    >>> branch_of("shd_bids_wf.sub_01_wf.dwi_wf.preproc_wf.denoise"), branch_of("graph.node")
    ('sub_01_wf', '')
    """
    _, *branches, _ = node_name.split(".")
    return branches[0] if branches else ""


def _last_error(traceback: str) -> str:
    """Give the message of the last exception in a traceback, over all of its lines."""
    lines = [line.strip() for line in traceback.strip().splitlines()]
    for start in range(len(lines) - 1, -1, -1):
        found = re.match(r"[\w.]*(?:Error|Exception|Exit|Interrupt)\b(: )?", lines[start])
        if found:
            shown = [lines[start][found.end() :] or lines[start], *lines[start + 1 :]]
            return " ".join(line for line in shown if line)
    return lines[-1] if lines else "no reason was given"
