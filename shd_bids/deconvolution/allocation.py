"""Keep memory that was freed for what is needed next."""

import ctypes
import logging

LOGGER = logging.getLogger(__name__)

_M_TRIM_THRESHOLD = -1  # of mallopt(3)
_M_MMAP_MAX = -4
_LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Tell glibc to reuse large blocks instead of giving each back to the system.

    Every layer of a network on the CPU asks for arrays of megabytes and frees them again; taken
    fresh from the system each time, they cost as much as the arithmetic, because the system clears
    each page first. Other C libraries, which have no ``mallopt``, are left alone. Meant for a
    process that does nothing but fit: what it frees, it keeps.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        LOGGER.debug("This C library has no mallopt; memory is allocated as it sees fit.")
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, _LARGEST)
