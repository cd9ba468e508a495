"""Whether what a step has left in the work directory is still what it left.

nipype takes a step from its cache when its inputs are the same, whatever became of its outputs: a
machine that lost its power leaves files that are empty or full of zeros, a full disk files that
end early. Every step's files are therefore sealed with their sizes and checksums when it ends.
"""

import json
import logging
import zlib
from collections.abc import Iterator
from pathlib import Path

LOGGER = logging.getLogger(__name__)

_NAME = "_sealed.json"
_CHUNK = 2**22


def seal(folder: Path) -> None:
    """Record the files of a step that has come to its end.

    Where that is impossible, as on a full disk, the step is run again the next time.

    Parameters
    ----------
    folder
        Working directory of the step.
    """
    try:
        files = {name: _describe(folder / name) for name in _files(folder)}
        (folder / _NAME).write_text(json.dumps(files), encoding="utf-8")
    except OSError as error:
        LOGGER.debug("%s is not sealed: %s", folder, error)


def discard_damaged(folder: Path, step: str) -> None:
    """Make a step run again whose files are not those that it left.

    Parameters
    ----------
    folder
        Working directory of the step, which need not exist.
    step
        What the step is called.
    """
    ended = [file for file in folder.glob("_0x*.json") if not file.stem.endswith("_unfinished")]
    if not ended:
        return
    reason = _find_damage(folder)
    if not reason:
        return
    LOGGER.warning("%s: %s. The step is run again.", step, reason)
    for file in (*ended, *folder.glob("result_*.pklz")):
        file.unlink(missing_ok=True)


def _find_damage(folder: Path) -> str:
    """Say what is wrong with the files of a step; nothing if they are as it left them."""
    try:
        sealed = json.loads((folder / _NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{folder} lacks the record of its files, or it is damaged"
    for name, described in sealed.items():
        try:
            whole = _describe(folder / name) == described
        except OSError:
            return f"{folder / name} is missing or cannot be read"
        if not whole:
            return f"{folder / name} is damaged or was changed"
    return ""


def _files(folder: Path) -> Iterator[str]:
    """List the files below a folder but for nipype's own notes."""
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if file.is_file() and not name.parts[0].startswith("_"):
            yield str(name)


def _describe(file: Path) -> list[int]:
    """Give size and CRC-32."""
    size, checksum = 0, 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            size, checksum = size + len(chunk), zlib.crc32(chunk, checksum)
    return [size, checksum]
