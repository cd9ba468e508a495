"""Run a graph with one process per node, so that the death of a process cannot stop the rest.

nipype's own MultiProc waits for ever when a worker is killed, for example by the kernel when
memory runs out. Here every node has a process of its own: when it dies, its node fails with a
crash file, and what does not depend on it goes on. The process gives its memory back at its end,
and its CUDA context with it.
"""

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, run_node

from .logs import set_up_logging

LOGGER = logging.getLogger(__name__)
_PRELOADED = ["nipype.pipeline.engine", "shd_bids.interfaces.all"]
_PR_SET_PDEATHSIG = 1


@dataclass
class _Task:
    """A node that is running: its process and where its result will arrive."""

    process: BaseProcess
    receiver: Connection
    node_name: str
    gpu: str | None


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
    on_status
        Called with the node and ``start``, ``end`` or ``exception``.
    """

    def __init__(
        self,
        *,
        n_procs: int,
        memory_gb: float,
        settings: TaskSettings | None = None,
        on_status: Callable[[Any, str], None] | None = None,
    ) -> None:
        self._settings = settings or TaskSettings()
        super().__init__(
            plugin_args={
                "n_procs": n_procs,
                "memory_gb": memory_gb,
                "n_gpu_procs": len(self._settings.gpus),
                "raise_insufficient": False,
                "status_callback": on_status,
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
            return task.receiver.recv()
        except EOFError:  # the process ended without a word
            task.process.join()
        message = _describe_death(task)
        LOGGER.error("%s", message)
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
    """Run one node in its own process and send its result."""
    die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides on Ctrl-C
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    own = {name: file for name, file in settings.log_files.items() if name in node.fullname}
    set_up_logging(verbosity=settings.verbosity, log_files=own)
    sender.send(run_node(node, updatehash, taskid))
    sender.close()


def die_with_parent() -> None:
    """Have this process killed when its parent dies, so that nothing goes on writing (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


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
