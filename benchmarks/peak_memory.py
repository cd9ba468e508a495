"""The peak memory of one step, over what was there before it.

On the CPU every case runs in a process of its own, forked from one that has only imported,
and the peak is the kernel's own count of the resident set; on a card it is torch's.
"""

import ctypes
import gc
import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Measured(Generic[Result]):
    """What a step gave and what it cost."""

    result: Result
    seconds: float
    peak_memory_mib: float  # over the resident set before it; the result is in it


def run_measured_here(step: Callable[[], Result]) -> Measured[Result]:
    """Run a step once, in this process; memory of processes that it starts is not counted."""
    before = _start_peak()
    start = time.perf_counter()
    result = step()
    return Measured(result, time.perf_counter() - start, _read_peak_mib(before))


def peak_memory_mib(build: Callable[..., Callable[[], object]], *arguments: Any) -> float:
    """Measure, in a fresh process, the peak of two runs of the step that ``build`` gives.

    Parameters
    ----------
    build
        Module-level function that makes network and input and returns the step.
    arguments
        For ``build``; they must pickle.

    Returns
    -------
    peak
        MiB over the resident set before the first run: weights and input are not in it.
    """
    context = multiprocessing.get_context("forkserver")
    package = build.__module__.partition(".")[0] + "."
    main = getattr(sys.modules["__main__"], "__spec__", None)  # each process runs it again
    own = [name for name in sys.modules if name.startswith(package)]
    context.set_forkserver_preload([name for name in own if main is None or name != main.name])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_measure, args=(sender, torch.get_num_threads(), build, *arguments)
    )
    process.start()
    sender.close()
    try:
        return float(receiver.recv())
    except EOFError as error:
        process.join()
        raise MemoryError(
            f"The process that measured memory ended with exit code {process.exitcode}; "
            "-9 says that the machine has too little. Ask for a smaller size."
        ) from error
    finally:
        process.join()


def peak_cuda_memory_mib(step: Callable[[], object]) -> float:
    """Measure the peak of two runs of a step on the current card, over what is allocated before."""
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    step()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def _measure(
    sender: Any, n_thread: int, build: Callable[..., Callable[[], object]], *arguments: Any
) -> None:
    torch.set_num_threads(n_thread)
    step = build(*arguments)
    before = _start_peak()
    step()
    step()
    sender.send(_read_peak_mib(before))
    sender.close()


def _start_peak() -> int:
    """Let the kernel count the peak from here, and give what is resident in KiB."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    _CLEAR.write_text("5")
    return _read_kib("VmRSS")


def _read_peak_mib(before_kib: int) -> float:
    return (_read_kib("VmHWM") - before_kib) / 1024


def _read_kib(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise KeyError(field)
