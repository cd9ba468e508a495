"""What is said when a disk is full, a quota used up or a file system read-only."""

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

_GO_ON = "The same command then goes on where it stopped."
_MAKE_ROOM = f"Make room, or give a folder on another disk. {_GO_ON}"
_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO}
_LEAST_FREE = 64 * 1024  # bytes; with less, whatever failed has failed for that reason
_NUMBER = re.compile(r"\[Errno (\d+)\]")
_PATHS = re.compile(r"'(/[^']*)'")


def is_disk_error(error: BaseException) -> bool:
    """Tell whether an error is the disk's, and not that of what was written."""
    return isinstance(error, OSError) and error.errno in _ERRORS


def explain_write_error(error: OSError, place: Path) -> str:
    """Say why something could not be written, how much is free, and what to try.

    Parameters
    ----------
    error
        As the system raised it.
    place
        What was to be written: a file or folder, which need not exist.
    """
    if error.errno in _ERRORS:
        return explain_disk(error.errno or 0, place)
    if error.errno == errno.ENAMETOOLONG:
        return (
            f"{os.strerror(errno.ENAMETOOLONG)}. Give a folder with a shorter path, or shorten "
            "labels of the dataset."
        )
    return f"{error.strerror or error}. Check the permissions of {_existing(place)}."


def explain_disk(number: int, place: Path) -> str:
    """Say what is wrong with the disk of a place.

    Parameters
    ----------
    number
        Of the error, as in ``errno``.
    place
        A file or folder on the disk, which need not exist.
    """
    folder = _disk_of(_existing(place))
    said = os.strerror(number)
    if number == errno.EROFS:
        return (
            f"{said}: the one of {folder}. Mount it writable (a disk with errors is often made "
            f"read-only), or give a folder on another disk. {_GO_ON}"
        )
    if number == errno.EFBIG:
        return f"{said} for {folder}: its file system, or `ulimit -f`, allows no more. {_MAKE_ROOM}"
    if number == errno.EIO:
        return f"{said} of the disk of {folder}: check its health (`dmesg`). {_MAKE_ROOM}"
    if number == errno.EDQUOT:
        return f"{said}: yours on the disk of {folder} is used up (`quota -s`). {_MAKE_ROOM}"
    return f"{said}: {_tell_free(folder)}. {_MAKE_ROOM}"


def explain_failure(said: str, places: Sequence[Path]) -> str:
    """Add to the last words of a step what is wrong with a disk or the memory, if that is it.

    Parameters
    ----------
    said
        Message of the error.
    places
        Folders that the step wrote to.
    """
    if _MAKE_ROOM in said or _GO_ON in said:
        return said
    if "MemoryError" in said or "Unable to allocate" in said or "can't allocate memory" in said:
        return (
            f"{said.rstrip('.')}. The memory that this process may use ran out: give more of it, "
            "or fewer --nprocs; --mem says how much there is."
        )
    found = _NUMBER.search(said)
    if found is not None and int(found[1]) in _ERRORS:
        named = [Path(path) for path in _PATHS.findall(said)]
        place = next((path for path in named if _is_full(path)), None)
        place = place or next((path for path in places if _is_full(path)), None)
        place = place or [*named, *places][0]
        before = said[: found.start()].rstrip(" :")
        return ": ".join(part for part in (before, explain_disk(int(found[1]), place)) if part)
    full = next((path for path in places if _is_full(path)), None)
    return said if full is None else f"{said.rstrip('.')}. {explain_disk(errno.ENOSPC, full)}"


def disk_reason(said: str) -> str:
    """Give the part of a message that tells of a disk, which is the same for all that failed."""
    starts = [said.find(os.strerror(number)) for number in _ERRORS]
    found = [start for start in starts if start >= 0]
    return said[min(found) :] if found and _GO_ON in said else ""


def _existing(place: Path) -> Path:
    """Give a place or what it would lie in."""
    return next(
        folder for folder in (place, *place.absolute().parents) if os.access(folder, os.F_OK)
    )


def _disk_of(folder: Path) -> Path:
    """Give where the disk of a folder is mounted; the folder itself on the machine's first."""
    folder = folder.resolve()
    mount = next(place for place in (folder, *folder.parents) if place.is_mount())
    return folder if mount == Path(mount.anchor) else mount


def _is_full(place: Path) -> bool:
    try:
        told = os.statvfs(_existing(place))
    except OSError:
        return False
    return told.f_bavail * told.f_frsize < _LEAST_FREE or _lacks_files(told)


def _lacks_files(told: os.statvfs_result) -> bool:
    return told.f_files > 0 and told.f_favail == 0


def _tell_free(folder: Path) -> str:
    try:
        told = os.statvfs(folder)
    except OSError:
        return f"the disk of {folder} is full"
    free, total = told.f_bavail * told.f_frsize, told.f_blocks * told.f_frsize
    space = f"{_amount(free)} of {_amount(total)} are free on the disk of {folder}"
    if _lacks_files(told):
        return f"{space}, but none of its {told.f_files} files (inodes, `df -i`)"
    return space


def _amount(n_byte: int) -> str:
    """Write a number of bytes.

    Examples
    --------
    >>> _amount(2_500_000)
    '2.5 MB'
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if n_byte >= size:
            return f"{n_byte / size:.1f} {unit}"
    return f"{n_byte / 1e6:.1f} MB"
