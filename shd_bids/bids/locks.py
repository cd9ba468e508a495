"""Locks between runs, which the system releases when their holder dies, however it dies.

They hold between processes of one machine on every local file system, and between machines where
the shared file system passes ``flock`` on: NFS does (Linux 2.6.12 and later) unless it is mounted
with ``nolock`` or ``local_lock``, Lustre with ``-o flock``, GPFS and BeeGFS when so set up. When a
machine goes down, a server releases its locks after a minute or so. Where there are none, a
warning says so, and two runs at once are the user's care.
"""

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOGGER = logging.getLogger(__name__)
_HELD = (errno.EAGAIN, errno.EACCES)
_POLL_S = 0.05


@contextmanager
def hold_lock(file: Path, *, timeout_s: float = 0.0, shared: bool = False) -> Iterator[None]:
    """Hold a lock as long as the block runs.

    Parameters
    ----------
    file
        Made if need be, and left there: removing it would let two in.
    timeout_s
        Patience, in seconds.
    shared
        Let others in that ask for the same lock as shared.

    Raises
    ------
    TimeoutError
        If another holds it for longer.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Who only shares need not write; NFS wants a file open for writing to be held alone.
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        _warn(file, error)
        yield
        return
    try:
        _acquire(descriptor, file, timeout_s, shared)
        yield
    finally:
        os.close(descriptor)


def is_held(file: Path) -> bool:
    """Tell whether another run holds a lock."""
    try:
        with hold_lock(file):
            return False
    except TimeoutError:
        return True


def _acquire(descriptor: int, file: Path, timeout_s: float, shared: bool) -> None:
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    end = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in _HELD:
                _warn(file, error)
                return
        if time.monotonic() >= end:
            raise TimeoutError(f"{file} is held by another process.")
        time.sleep(_POLL_S)


def _warn(file: Path, error: OSError) -> None:
    LOGGER.warning(
        "%s cannot be locked (%s). Take care that no other run of shd-bids is at work on the same.",
        file,
        error.strerror or error,
    )
