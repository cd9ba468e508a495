"""Run a graph with one process per node, so that the death of a process cannot stop the rest.

nipype's own MultiProc waits for ever when a worker is killed, for example by the kernel when
memory runs out. Here every node has a process of its own: when it dies, its node fails with a
crash file, and what does not depend on it goes on. The process gives its memory back at its end,
and its CUDA context with it.
"""

import ctypes
import logging
import multiprocessing
import multiprocessing.connection
import os
import pickle
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic
from traceback import format_exc, format_exception
from typing import Any

from nipype import config as nipype_config
from nipype.pipeline.engine.utils import write_workflow_resources
from nipype.pipeline.plugins.multiproc import MultiProcPlugin, run_node

from shd_bids.bids.space import explain_failure, explain_write_error

from .logs import set_up_logging
from .seals import discard_damaged, seal
from .signals import raise_if_interrupted
from .threads import bound_threads
from .usage import StepUse, held_gb, peak_gb, tell_excess

LOGGER = logging.getLogger(__name__)
_PATIENCE_S = 10.0  # for the end of a process that has nothing left to do
_GRACE_S = 30.0  # for a training to save itself; container engines give 10 s, Slurm 30 s
_N_TRY = 3
_UNSEEN = 255  # how a process ended that outlived the server it was forked from
_BLOCKED = {signal.SIGTERM, signal.SIGHUP}
_PR_SET_NAME = 15
_QUIET = ("ds_", "describe_")  # nodes of milliseconds
_PRELOADED = ["nipype.pipeline.engine", "shd_bids.interfaces.all"]


@dataclass
class _Task:
    """A node that is running: its process and where its result will arrive.

    A thread listens, since a process can die, or stop, with half of its result sent.
    """

    process: BaseProcess
    receiver: Connection
    sender: Connection
    node_name: str
    gpu: str | None
    reply: bytes | None = None
    has_replied: threading.Event = field(default_factory=threading.Event)
    is_gone: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Start the process, then listen to it."""
        with _signals_blocked():
            self.process.start()
        self.sender.close()  # so that the receiver sees the end when the process dies
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            self.reply = self.receiver.recv_bytes()
            self.has_replied.set()
            self.receiver.recv_bytes()  # nothing comes any more
        except (EOFError, OSError):  # the end, in the midst of a message or not
            pass
        self.has_replied.set()
        self.is_gone.set()

    def end(self, patience_s: float) -> None:
        """Wait for the end of the process, then end what is left of it and of its programs."""
        if self.process.pid is None:
            return
        self.is_gone.wait(patience_s)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if not self.is_gone.is_set():  # it had no group of its own yet
            self.process.kill()
        if self.is_gone.wait(_PATIENCE_S):
            self.process.join(_PATIENCE_S)


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
    monitor_file: Path | None = None  # for samples of memory and processor time, by nipype


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
        try:
            super().run(graph, config, updatehash=updatehash)
        finally:  # nipype itself writes it only when nothing has failed
            if self._settings.monitor_file is not None:
                write_workflow_resources(graph, str(self._settings.monitor_file), append=False)

    def _send_procs_to_workers(self, updatehash: bool = False, graph: Any = None) -> None:
        raise_if_interrupted()
        super()._send_procs_to_workers(updatehash=updatehash, graph=graph)

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
                target=_run_task,
                args=(node, updatehash, self._taskid, sender, self._settings, gpu),
                name=node.name,
            )
            task = _Task(process, receiver, sender, node.fullname, gpu)
            self._tasks[self._taskid] = task  # before it starts: a signal may come in between
            try:
                task.start()
                return self._taskid
            except (OSError, EOFError) as found:
                error = found
                receiver.close()
                sender.close()
        task.reply = pickle.dumps((_failed(self._taskid, _describe_refusal(task, error)), None))
        task.has_replied.set()
        return self._taskid

    def _get_result(self, taskid: int) -> dict[str, Any] | None:
        task = self._tasks[taskid]
        if not task.has_replied.is_set():
            return None
        if task.reply is None:  # the process ended without a word
            task.end(_PATIENCE_S)
            return _failed(taskid, _describe_death(task))
        result: dict[str, Any]
        result, self._peaks_gb[task.node_name] = pickle.loads(task.reply)
        return result

    def _clear_task(self, taskid: int) -> None:
        task = self._tasks.pop(taskid)
        task.sender.close()
        task.end(_PATIENCE_S)
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
    os.setpgid(0, 0)  # so that the programs it starts can be ended with it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent decides on Ctrl-C and closed terminals
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)
    _name_process(node.name)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    if settings.monitor_file is not None:
        nipype_config.enable_resource_monitor()
    own = {name: file for name, file in settings.log_files.items() if name in node.fullname}
    set_up_logging(verbosity=settings.verbosity, log_files=own)
    bound_threads(node.n_procs or 1)
    try:
        result = run_node(node, updatehash, taskid)
    except OSError as error:  # the disk holds not even nipype's note of what failed
        cause = error.__context__ or error
        result = {"result": None, "traceback": format_exception(cause), "taskid": taskid}
    if result.get("traceback") is None:
        seal(Path(node.output_dir()))
    try:
        reply = pickle.dumps((result, peak_gb(shared_gb)))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        failure = f"The result of {node.fullname} cannot be sent to the run: {error}"
        said = result["traceback"] or _failed(taskid, failure)["traceback"]
        reply = pickle.dumps((_failed(taskid, failure) | {"traceback": said}, peak_gb(shared_gb)))
    sender.send_bytes(reply)
    sender.close()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Start processes deaf to what asks to end, until they listen themselves.

    The server from which nodes' processes are forked never does: a scheduler may send SIGTERM to
    all processes, and nodes are to hear of it from this one.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _name_process(name: str) -> None:
    """Show a node's name in ``top`` and ``ps``, as far as fits (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def _end_with_parent() -> None:
    """Wait for the end of the process that runs the graph, then end this one with its children.

    The server that nodes' processes are forked from does not end as long as one of them lives.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os.killpg(0, signal.SIGKILL)


def _failed(taskid: int, message: str) -> dict[str, Any]:
    """Give the result of a node that could not tell it itself."""
    return {"result": None, "traceback": [f"RuntimeError: {message}\n"], "taskid": taskid}


def _describe_death(task: _Task) -> str:
    code = task.process.exitcode or 0
    how = f"with exit code {code}"
    if code == _UNSEEN:
        how = "killed, it seems"
    if code < 0:
        how = f"killed by {signal.Signals(-code).name}"
    hint = (
        " Most often the system ran out of memory: give fewer --nprocs, more memory, or --mem."
        if code in (-signal.SIGKILL, _UNSEEN)
        else ""
    )
    return f"The process of {task.node_name} ended without a result, {how}.{hint}"


def _describe_refusal(task: _Task, error: Exception | None) -> str:
    return (
        f"No process could be started for {task.node_name}: {error or 'no reason was given'}. Most "
        "often there are too many processes or open files, or too little memory: see `ulimit -a`."
    )


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
