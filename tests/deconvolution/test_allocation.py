"""Memory that was freed is used again."""

import ctypes
import resource
import subprocess
import sys

import pytest

from shd_bids.deconvolution.allocation import keep_freed_memory

_COUNT_FAULTS = """
import resource
import torch
from shd_bids.deconvolution.allocation import keep_freed_memory
{call}
torch.set_num_threads(1)
for _ in range(10):
    torch.ones(2**23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(2**23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(call: str) -> int:
    program = _COUNT_FAULTS.format(call=call)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return int(result.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_large_arrays_are_not_taken_fresh_from_the_system_each_time() -> None:
    """Something small may settle in what was freed, so that the next array needs a new place."""
    pages = 10 * 2**25 // resource.getpagesize()
    assert _faults("keep_freed_memory()") < 0.5 * pages < _faults("")


def test_a_c_library_without_mallopt_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    keep_freed_memory()
