"""A node that runs in a process of its own, and what that process does."""

import ctypes
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from traceback import format_exception
from typing import Any

from nipype import config as nipype_config
from nipype.pipeline.plugins.multiproc import run_node

from .logs import set_up_logging
from .seals import seal
from .threads import bound_threads
from .usage import held_gb, peak_gb

PATIENCE_S = 10.0  # for the end of a process that has nothing left to do
_UNSEEN = 255  # how a process ended that outlived the server it was forked from
_BLOCKED = {signal.SIGTERM, signal.SIGHUP}
_PR_SET_NAME = 15


@dataclass
class Task:
    """A node that is running: its process and where its result will arrive.

    A thread listens, since a process can die, or stop, with half of its result sent.
    """

    process: BaseProcess
    receiver: Connection
    sender: Connection
    node_name: str
    gpu: str | None
    news: threading.Event  # is set when it has replied or is gone
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
            self.news.set()
            self.receiver.recv_bytes()  # nothing comes any more
        except (EOFError, OSError):  # the end, in the midst of a message or not
            pass
        self.has_replied.set()
        self.is_gone.set()
        self.news.set()

    def end(self, patience_s: float) -> None:
        """Wait for the end of the process, then end what is left of it and of its programs."""
        if self.process.pid is None:
            return
        self.is_gone.wait(patience_s)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if not self.is_gone.is_set():  # it had no group of its own yet
            self.process.kill()
        if self.is_gone.wait(PATIENCE_S):
            self.process.join(PATIENCE_S)


@dataclass(frozen=True)
class TaskSettings:
    """What a node's process sets up before it runs its node."""

    log_files: dict[str, Path] = field(default_factory=dict)  # by a participant's workflow name
    verbosity: int = 0
    gpus: tuple[str, ...] = ()  # ids for CUDA_VISIBLE_DEVICES, one per card to use at once
    monitor_file: Path | None = None  # for samples of memory and processor time, by nipype


def run_sealed(node: Any, updatehash: bool, taskid: int) -> dict[str, Any]:
    """Run a node in this process with the threads that it declares, and seal what it leaves.

    Returns
    -------
    dict
        As nipype's ``run_node``: ``result``, or ``traceback``, which is None after a good end.
    """
    bound_threads(node.n_procs or 1)
    try:
        result: dict[str, Any] = run_node(node, updatehash, taskid)
    except OSError as error:  # the disk holds not even nipype's note of what failed
        cause = error.__context__ or error
        return {"result": None, "traceback": format_exception(cause), "taskid": taskid}
    if result.get("traceback") is None:
        seal(Path(node.output_dir()))
    return result


def run_task(
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
        os.chdir(settings.monitor_file.parent)  # where nipype keeps its samples meanwhile
        nipype_config.enable_resource_monitor()
    own = {name: file for name, file in settings.log_files.items() if name in node.fullname}
    set_up_logging(verbosity=settings.verbosity, log_files=own)
    result = run_sealed(node, updatehash, taskid)
    if settings.monitor_file is not None:
        remove_samples(settings.monitor_file.parent)
    try:
        reply = pickle.dumps((result, peak_gb(shared_gb)))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        failure = f"The result of {node.fullname} cannot be sent to the run: {error}"
        said = result["traceback"] or failed_result(taskid, failure)["traceback"]
        reply = pickle.dumps(
            (failed_result(taskid, failure) | {"traceback": said}, peak_gb(shared_gb))
        )
    sender.send_bytes(reply)
    sender.close()


def remove_samples(folder: Path) -> None:
    """Remove what nipype's monitor of this process has left; the result holds the samples."""
    for file in folder.glob(f".proc-{os.getpid()}_*"):
        file.unlink(missing_ok=True)


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


def failed_result(taskid: int, message: str) -> dict[str, Any]:
    """Give the result of a node that could not tell it itself."""
    return {"result": None, "traceback": [f"RuntimeError: {message}\n"], "taskid": taskid}


def describe_death(task: Task) -> str:
    """Say how the process of a node ended that gave no result, and what to try."""
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


def describe_refusal(task: Task, error: Exception | None) -> str:
    """Say why a node got no process, and what to try."""
    return (
        f"No process could be started for {task.node_name}: {error or 'no reason was given'}. Most "
        "often there are too many processes or open files, or too little memory: see `ulimit -a`."
    )
