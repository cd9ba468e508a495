"""Files written safely: complete under their final name or not there at all.

Every file appears by rename; files that concurrent runs share are written under a lock.
"""

import hashlib
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from shd_bids.bids.space import explain_write_error
from shd_bids.errors import OutputError

from .locks import hold_lock

LOCK_NAME = ".shd-bids.lock"
_UNFINISHED = ".part"  # ends the temporary names
_LONGEST_PREFIX = 200  # bytes, so that a long name still has room for what mkstemp adds
_GZIP_LEAST = 18  # bytes of a header and a trailer


def write_text(path: Path, text: str) -> None:
    """Write a text file by rename, making its folder if need be.

    Parameters
    ----------
    path
        Final name.
    text
        Its whole content. What UTF-8 lacks, as names in another encoding leave it, is written as
        its escape.

    Raises
    ------
    OutputError
        If the folder cannot be written or the disk is full.
    """
    with _temporary_beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file by rename, making its folder if need be.

    Parameters
    ----------
    path
        Final name.
    content
        Anything that JSON can hold; NaN is refused.

    Raises
    ------
    OutputError
        If the folder cannot be written or the disk is full.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def replace_file(source: Path, destination: Path) -> None:
    """Copy a file to a final name by rename, making the folder if need be.

    Parameters
    ----------
    source
        Stays where it is.
    destination
        Replaced if it exists; seen only when complete.

    Raises
    ------
    OutputError
        If the folder cannot be written or the disk is full.
    """
    with _temporary_beside(destination) as temporary:
        shutil.copyfile(source, temporary)


def say_missing(file: Path) -> str:
    """Say that a file is not there, and of a link that leads nowhere how to get its content."""
    if not file.is_symlink():
        return f"There is no file {file}"
    return (
        f"{file} is a link to {file.readlink()}, which is not there: its content was not fetched "
        "(DataLad: `datalad get`), or the folder that the link leads to is not bound into the "
        "container"
    )


def gzip_trailer(file: Path) -> tuple[str, int] | None:
    """Read what the end of a ``.gz`` file tells of its content, without unpacking it.

    Parameters
    ----------
    file
        Compressed in one piece, as images are.

    Returns
    -------
    checksum, size
        CRC-32 of the content, and its number of bytes modulo 2^32. None where the name does not
        end in ``.gz`` or there are too few bytes. Of a truncated file they are arbitrary.
    """
    if file.suffix != ".gz" or file.stat().st_size < _GZIP_LEAST:
        return None
    with file.open("rb") as stream:
        stream.seek(-8, os.SEEK_END)
        checksum, size = struct.unpack("<II", stream.read(8))
    return f"crc32:{checksum:08x}", size


def file_digest(file: Path) -> str:
    """Give the SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def dataset_lock(output_dir: Path, *, timeout_s: float = 120.0) -> Iterator[None]:
    """Hold the lock of an output dataset while writing the files that its runs share.

    Parameters
    ----------
    output_dir
        Root of the output dataset.
    timeout_s
        Patience, in seconds.

    Raises
    ------
    OutputError
        If another run holds the lock for longer.
    """
    file = output_dir / "logs" / LOCK_NAME
    try:
        with hold_lock(file, timeout_s=timeout_s):
            yield
    except TimeoutError as error:
        raise OutputError(
            f"{file} has been held for {timeout_s:g} s: another run is writing to {output_dir}, or "
            "hangs. End it, then try again."
        ) from error


def remove_leftovers(folder: Path, name: str = "*", *, deep: bool = False) -> None:
    """Remove what a killed run has left under temporary names.

    Parameters
    ----------
    folder
        Nobody else may be writing there what is looked for.
    name
        Pattern of the final names.
    deep
        Whether to look in the folders of the folder, too.
    """
    for file in list(folder.glob(f"{'**/' if deep else ''}.{name}.*{_UNFINISHED}")):
        file.unlink(missing_ok=True)


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        start = os.fsencode(path.name)[:_LONGEST_PREFIX].decode(errors="ignore")
        handle, name = tempfile.mkstemp(prefix=f".{start}.", suffix=_UNFINISHED, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _settle(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"Cannot write {path}: {explain_write_error(error, path.parent)}"
        ) from error
    finally:
        if temporary is not None:
            with suppress(OSError):  # of a disk that has become read-only
                temporary.unlink(missing_ok=True)


def _settle(file: Path) -> None:
    """Have the disk hold a file before its name does, so that no loss of power leaves it empty."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
