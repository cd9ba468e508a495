"""How properties are fuzzed: few cases that are always the same, or thousands that never are.

A case may end in two ways: the program takes the input, and what it took is what an independent
reading says; or it refuses it by one of its own errors whose message names the file or flag. Any
other exception, a hang, or memory out of proportion is a failure.
"""

import os
import re
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.strategies import SearchStrategy

from shd_bids.errors import ShdBidsError

_LONGEST_S = 60  # of one case, on a busy machine; they take milliseconds
_MOST_MB = 300  # that all cases of a property may add
_CHECKS = list(HealthCheck)

SETTINGS = {
    "ci": lambda n: settings(
        max_examples=n,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=_CHECKS,
    ),
    "fuzz": lambda n: settings(
        max_examples=n,
        derandomize=False,
        deadline=None,
        database=None,
        print_blob=True,
        verbosity=Verbosity.normal,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=_CHECKS,
    ),
}


@dataclass
class Property:
    """One way in, the input that is tried on it, and how often."""

    name: str
    strategy: Callable[[], SearchStrategy[Any]]
    prepare: Callable[[Any], Callable[[Any], None]]  # of a folder; gives what tries one case
    names: str  # what the message of a refusal must hold, a pattern
    n_ci: int = 25
    n_fuzz: int = 1500
    examples: tuple[Any, ...] = ()
    ends: Counter = field(default_factory=Counter)


def fuzz(one: Property, folder: Any, profile: str) -> None:
    """Try all cases of a property and print how they ended."""
    n_case = one.n_ci if profile == "ci" else int(os.environ.get("FUZZ_CASES", one.n_fuzz))
    attempt, before = one.prepare(folder), _peak_mb()

    def check(case: Any) -> None:
        one.ends["cases"] += 1
        try:
            with _time_limit(_LONGEST_S):
                attempt(case)
        except ShdBidsError as error:
            message = str(error)
            assert re.search(one.names, message), message
            assert len(message) < 3000, message[:3000]
            one.ends["refused"] += 1
        else:
            one.ends["taken"] += 1
        grown = _peak_mb() - before
        assert grown < _MOST_MB, f"{grown:.0f} MB more for {case!r:.300}"

    for case in one.examples:
        check(case)
    SETTINGS[profile](n_case)(given(one.strategy())(check))()
    ends = one.ends
    print(
        f"\nfuzz {one.name}: {ends['cases']} cases, {ends['taken']} taken, "
        f"{ends['refused']} refused in words, 0 failures"
    )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def _time_limit(seconds: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise AssertionError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
