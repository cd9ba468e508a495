"""A control group of our own, to run things in that the kernel limits."""

import contextlib
import errno
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shd_bids.cli.limits import _groups

_PATIENCE_S = 60.0


@contextmanager
def limited_group(n_byte: int) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Make a group below our own, give it with what puts a process into it, and remove it.

    Skips where this process may not.
    """
    own = next(_groups("memory", Path("/")), None)
    group = own / f"shd-bids-test-{uuid.uuid4().hex[:8]}" if own else None
    try:
        if group is None:
            pytest.skip("no control groups for memory are mounted here")
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        limit = group / "memory.limit_in_bytes"  # version 1
        limit = limit if limit.exists() else group / "memory.max"
        try:
            limit.write_text(str(n_byte))
        except OSError as error:
            pytest.skip(f"no limit can be set here: {error}")
        with contextlib.suppress(OSError):  # no swap, or not counted
            (group / "memory.swap.max").write_text("0")
        tasks = group / "cgroup.procs"
        yield group, lambda: (tasks.write_text("0"), None)[1]
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    """Remove a group when the last process in it has ended, such as a server of processes."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            group.rmdir()
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > end:
                raise
        time.sleep(0.1)
