"""Run a graph with one process per node, so that the death of a process cannot stop the rest.

nipype's own MultiProc waits for ever when a worker is killed, for example by the kernel when
memory runs out. Here every node has a process of its own: when it dies, its node fails with a
crash file, and what does not depend on it goes on. The process gives its memory back at its end,
and its CUDA context with it.
"""

import logging
import multiprocessing
import multiprocessing.connection
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic
from traceback import format_exc, format_exception
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, run_node

from shd_bids.bids.space import explain_failure, explain_write_error

from .logs import set_up_logging
from .seals import discard_damaged, seal
from .usage import StepUse, held_gb, peak_gb, tell_excess

LOGGER = logging.getLogger(__name__)
_QUIET = ("ds_", "describe_")  # nodes of milliseconds
_PRELOADED = ["nipype.pipeline.engine", "shd_bids.interfaces.all"]


@dataclass
class _Task:
    """A node that is running: its process and where its result will arrive."""

    process: BaseProcess
    receiver: Connection
    node_name: str
    gpu: str | None


@dataclass(frozen=True)
class Failure:
    """A node that failed, and what its user should read."""

    node_name: str
    message: str


@dataclass(frozen=True)
class TaskSettings:
    """What a node's process sets up before it runs its node."""

    log_files: dict[str, Path] = field(default_factory=dict)  # by a participant's workflow name
    verbosity: int = 0
    gpus: tuple[str, ...] = ()  # ids for CUDA_VISIBLE_DEVICES, one per card to use at once


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
        self._tasks: dict[int, _Task] = {}

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Run the nodes of a graph; what does not depend on a failure is run to the end."""
        self.unfinished = {node.fullname for node in graph.nodes()}
        super().run(graph, config, updatehash=updatehash)

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
        if status == "end":
            self.unfinished.discard(name)
            if name in self.used and not node.name.startswith(_QUIET):
                LOGGER.info("%s: done in %.1f s", readable_name(name), self.used[name].seconds)

    def _clean_queue(self, jobid: int, graph: Any, result: Any = None) -> Any:
        name = self.procs[jobid].fullname
        said = _last_error("".join(result["traceback"]) if result else format_exc())
        node = self.procs[jobid]
        work_dir = Path(node.base_dir or node.output_dir())
        said = explain_failure(said, [work_dir, Path(os.environ.get("TMPDIR") or "/tmp")])
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

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid += 1
        gpu = None
        if node.is_gpu_node() and self._settings.gpus:
            busy = [task.gpu for task in self._tasks.values()]
            gpu = next((card for card in self._settings.gpus if card not in busy), None)
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_run_task,
            args=(node, updatehash, self._taskid, sender, self._settings, gpu),
            name=node.name,
        )
        process.start()
        sender.close()  # so that the receiver sees the end when the process dies
        self._tasks[self._taskid] = _Task(process, receiver, node.fullname, gpu)
        return self._taskid

    def _get_result(self, taskid: int) -> dict[str, Any] | None:
        task = self._tasks[taskid]
        if not task.receiver.poll():
            return None
        try:
            result, self._peaks_gb[task.node_name] = task.receiver.recv()
            return result
        except EOFError:  # the process ended without a word
            task.process.join()
        message = _describe_death(task)
        return {"result": None, "traceback": [f"RuntimeError: {message}\n"], "taskid": taskid}

    def _clear_task(self, taskid: int) -> None:
        task = self._tasks.pop(taskid)
        task.receiver.close()
        task.process.join()
        task.process.close()

    def _postrun_check(self) -> None:
        self.stop()

    def stop(self) -> None:
        """End the processes that still run, and with them the programs they started."""
        for task in self._tasks.values():
            task.process.terminate()
        for taskid in list(self._tasks):
            self._clear_task(taskid)


def _run_task(
    node: Any,
    updatehash: bool,
    taskid: int,
    sender: Connection,
    settings: TaskSettings,
    gpu: str | None,
) -> None:
    """Run one node in its own process and send its result, and the memory that it took."""
    shared_gb = held_gb()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides on Ctrl-C
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    own = {name: file for name, file in settings.log_files.items() if name in node.fullname}
    set_up_logging(verbosity=settings.verbosity, log_files=own)
    try:
        result = run_node(node, updatehash, taskid)
    except OSError as error:  # the disk holds not even nipype's note of what failed
        cause = error.__context__ or error
        result = {"result": None, "traceback": format_exception(cause), "taskid": taskid}
    if result.get("traceback") is None:
        seal(Path(node.output_dir()))
    sender.send((result, peak_gb(shared_gb)))
    sender.close()


def _end_with_parent() -> None:
    """Wait for the end of the process that runs the graph, then end this one with its children.

    The server that nodes' processes are forked from does not end as long as one of them lives.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)


def _describe_death(task: _Task) -> str:
    code = task.process.exitcode or 0
    how = f"with exit code {code}"
    if code < 0:
        how = f"killed by {signal.Signals(-code).name}"
    hint = (
        " Most often the system ran out of memory: give fewer --nprocs, more memory, or --mem."
        if code == -signal.SIGKILL
        else ""
    )
    return f"The process of {task.node_name} ended without a result, {how}.{hint}"


def readable_name(node_name: str) -> str:
    """Shorten a node's full name: ``sub_01_wf.dwi_wf.preproc_wf.denoise`` to its labels."""
    parts = [part.removesuffix("_wf") for part in node_name.split(".")]
    return " ".join(part for part in parts if part != "shd_bids")


def _last_error(traceback: str) -> str:
    """Give the message of the last exception in a traceback, over all of its lines."""
    lines = [line.strip() for line in traceback.strip().splitlines()]
    for start in range(len(lines) - 1, -1, -1):
        found = re.match(r"[\w.]*(?:Error|Exception|Exit|Interrupt)\b(: )?", lines[start])
        if found:
            shown = [lines[start][found.end() :] or lines[start], *lines[start + 1 :]]
            return " ".join(line for line in shown if line)
    return lines[-1] if lines else "no reason was given"
