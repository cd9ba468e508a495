"""Folders that libraries write to beside the results, on machines that have none for them.

With a read-only root, or for a user without an entry in `/etc/passwd`, there may be neither a home
nor a `/tmp`; the work directory is then the one place that can be written.
"""

import os
import pwd
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from shd_bids.errors import ConfigError

_TEMPORARY = ("/tmp", "/var/tmp", "/usr/tmp")  # as Python's tempfile looks, without the current one
_ROOM_FOR_SOCKETS = 75  # bytes of 108: processes meet at a socket in a folder of its own


def find_places(folder: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Say which variables must change for libraries to find folders that they can write to.

    Parameters
    ----------
    folder
        That can be written; it is made only if something must change.
    environment
        As it is. ``TMPDIR``, ``HOME`` and ``TEMPLATEFLOW_HOME`` matter.

    Returns
    -------
    dict[str, str]
        New values by name; empty on most machines.

    Raises
    ------
    ConfigError
        If there is no place for temporary files.
    """
    changed = {}
    own = folder.absolute()
    named = [environment[name] for name in ("TMPDIR", "TEMP", "TMP") if environment.get(name)]
    first = next((place for place in (*named, *_TEMPORARY) if _can_write(Path(place))), None)
    if first is None or not _has_room(first):
        places = (*named, *_TEMPORARY, _made(own / "tmp"), "/dev/shm")
        usable = [place for place in places if _has_room(place) and _can_write(Path(place))]
        if not usable:
            raise ConfigError(
                f"There is no folder for temporary files: none of {', '.join(places)} can be "
                f"written and has a path of at most {_ROOM_FOR_SOCKETS} bytes. Set TMPDIR to one "
                "that does, or give a --work-dir with a shorter path."
            )
        changed["TMPDIR"] = usable[0]
    if not _can_write(_home(environment)):
        changed["HOME"] = _made(own / "home")
    templates = environment.get("TEMPLATEFLOW_HOME")
    if templates and not _holds_or_can_be_made(Path(templates)):  # importing it would fail
        changed["TEMPLATEFLOW_HOME"] = str(own / "templateflow")
    return changed


def use_places(folder: Path) -> dict[str, str]:
    """Change the environment of this process, and of those that it starts, by `find_places`."""
    changed = find_places(folder)
    os.environ.update(changed)
    if "TMPDIR" in changed:
        tempfile.tempdir = None  # it has looked already
    return changed


def _home(environment: Mapping[str, str]) -> Path:
    """Give the home as libraries find it; a user without one has a folder that is not there."""
    if "HOME" in environment:
        return Path(environment["HOME"] or "/nonexistent")
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path("/nonexistent")


def _has_room(place: str) -> bool:
    return len(os.fsencode(place)) <= _ROOM_FOR_SOCKETS


def _can_write(place: Path) -> bool:
    return os.access(place, os.W_OK | os.X_OK) and place.is_dir()


def _holds_or_can_be_made(place: Path) -> bool:
    """Tell whether TemplateFlow can use a folder: it is filled already, or can be."""
    if not os.path.lexists(place):
        return _can_write(next(parent for parent in place.parents if os.path.lexists(parent)))
    readable = os.access(place, os.R_OK | os.X_OK) and place.is_dir()
    return _can_write(place) or (readable and any(place.iterdir()))


def _made(place: Path) -> str:
    with suppress(OSError):  # what needs the work directory itself says what is wrong with it
        place.mkdir(parents=True, exist_ok=True)
    return str(place)
