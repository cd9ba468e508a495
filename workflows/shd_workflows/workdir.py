"""The work directory: whose it is, emptied when asked, and held by one run per participant."""

import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shd_bids import __version__
from shd_bids.bids.files import write_json
from shd_bids.bids.locks import hold_lock
from shd_bids.config import LIBRARY_DIR_NAME
from shd_bids.errors import OutputError, WorkDirError

from .usage import StepUse

LOGGER = logging.getLogger(__name__)
STAMP_NAME = "shd-bids-work.json"
_STEPS_NAME = "steps.jsonl"
_LOCK_ENDING = ".lock"
_ALL = "runs"  # the lock that all runs share, and that who empties the folder has alone


def prepare_work_dir(work_dir: Path, *, bids_dir: Path, clean: bool) -> None:
    """Make the work directory, or make sure that the one there can be resumed.

    Parameters
    ----------
    work_dir
        Folder of the intermediate results.
    bids_dir
        Dataset they are made from.
    clean
        Empty it first.

    Raises
    ------
    WorkDirError
        When it was made by another version, from another dataset or by another user, or is to be
        emptied and was not made by shd-bids, or another run is at work there.
    OutputError
        When it cannot be written.
    """
    stamp_file = work_dir / STAMP_NAME
    wanted = {"version": __version__, "bids_dir": str(bids_dir.resolve())}
    if clean and (entries := _list_entries(work_dir)):
        if not stamp_file.is_file():
            raise WorkDirError(
                f"--clean-workdir would empty {work_dir}, which shd-bids did not make (it lacks "
                f"{STAMP_NAME}). Empty it yourself, or give another --work-dir."
            )
        _empty(work_dir, entries)
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The work directory {work_dir} cannot be made: {error.strerror}. Give a folder that "
            "can be written with --work-dir."
        ) from error
    _check_owner(work_dir)
    if not stamp_file.is_file():
        write_json(stamp_file, wanted)
        return
    found = _read_stamp(stamp_file)
    for key, what in (("version", "version"), ("bids_dir", "dataset")):
        if found.get(key) != wanted[key]:
            raise WorkDirError(
                f"The work directory {work_dir} belongs to {what} {found.get(key)}; this run is of "
                f"{what} {wanted[key]}. Give another --work-dir, or --clean-workdir to start anew."
            )


def _list_entries(work_dir: Path) -> list[Path]:
    """List what emptying removes: all but libraries' folder and the locks, which stay locks."""
    try:
        entries = list(work_dir.iterdir()) if work_dir.is_dir() else []
    except OSError as error:
        raise OutputError(f"{work_dir} cannot be read: {error.strerror}.") from error
    return [
        entry
        for entry in entries
        if entry.name != LIBRARY_DIR_NAME
        and not (entry.name.startswith(".") and entry.name.endswith(_LOCK_ENDING))
    ]


def _empty(work_dir: Path, entries: Sequence[Path]) -> None:
    """Delete what is in a work directory, unless another run is at work there."""
    LOGGER.info("Emptying the work directory %s.", work_dir)
    names = [
        lock_file.name.removeprefix(".").removesuffix(_LOCK_ENDING)
        for lock_file in sorted(work_dir.glob(f".*{_LOCK_ENDING}"))
    ]
    for name in names:
        if name != _ALL:
            with _hold(work_dir, name, name):  # to say who it is that is at work
                pass
    with _hold(work_dir, _ALL, "something"):
        for entry in entries:
            try:
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(
                    f"--clean-workdir: {entry} cannot be removed: {error.strerror or error}. "
                    "Remove it yourself, or give another --work-dir."
                ) from error


def _check_owner(work_dir: Path) -> None:
    """Refuse what another user has left: nipype's results are pickles, which can run any code."""
    own = _own_number(work_dir)
    trusted = [work_dir / name for name in (STAMP_NAME, "shd_bids_wf", "jobs", "checkpoints")]
    for place in trusted:
        if place.exists() and place.lstat().st_uid != own:
            raise WorkDirError(
                f"{place} belongs to another user (number {place.lstat().st_uid}, this run writes "
                f"as {own}). Intermediate results can run code when they are read, so that only "
                "one's own are taken. Give another --work-dir."
            )
    open_places = [place for place in (work_dir, *trusted[1:]) if _others_may_write(place)]
    if open_places:
        LOGGER.warning(
            "Other users may write to %s. Intermediate results can run code when they are read: "
            "`chmod o-w` it, or give a --work-dir that is yours alone.",
            open_places[0],
        )


def _own_number(work_dir: Path) -> int:
    """Tell as whom this run writes.

    It is seen from a file that is written now, because some network and container file systems
    show other owners than they were asked for.
    """
    try:
        with tempfile.TemporaryFile(dir=work_dir) as probe:
            return os.fstat(probe.fileno()).st_uid
    except OSError as error:
        raise OutputError(
            f"The work directory {work_dir} cannot be written to: {error.strerror}. Give another "
            "with --work-dir."
        ) from error


def _others_may_write(place: Path) -> bool:
    """Tell whether anybody may replace what lies in a folder; a sticky one keeps it in place."""
    mode = place.stat().st_mode if place.is_dir() else 0
    return bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


def _read_stamp(stamp_file: Path) -> dict[str, Any]:
    try:
        found = json.loads(stamp_file.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"it holds {found!r}")
    except (OSError, ValueError) as error:
        raise WorkDirError(
            f"{stamp_file}, which tells what the work directory belongs to, is damaged ({error}). "
            "Use --clean-workdir to start anew, or give another --work-dir."
        ) from error
    return found


def remember_step(work_dir: Path, name: str, use: StepUse) -> None:
    """Keep what a node took, for runs that take it from the cache, also if this run is killed.

    A line is added to a file, so that runs of other participants may do so at the same time.

    Parameters
    ----------
    work_dir
        Folder of the intermediate results.
    name
        Full name of the node.
    use
        Its time and memory.
    """
    line = json.dumps({"name": name, **asdict(use)}) + "\n"
    with suppress(OSError), (work_dir / _STEPS_NAME).open("a", encoding="utf-8") as file:
        file.write(line)  # on a full disk only a time is lost


def recall_steps(work_dir: Path) -> dict[str, StepUse]:
    """Give time and memory of all nodes that ran in a work directory, the earliest first.

    Parameters
    ----------
    work_dir
        Folder of the intermediate results.

    Returns
    -------
    dict
        By full name; of a node that ran twice, the later.
    """
    known: dict[str, StepUse] = {}
    with suppress(OSError, ValueError, AttributeError, TypeError):  # of earlier versions, or none
        found = json.loads((work_dir / "seconds.json").read_text(encoding="utf-8"))
        known = {name: StepUse(float(seconds)) for name, seconds in found.items()}
    lines: list[str] = []
    with suppress(OSError):  # no step has ended yet
        lines = (work_dir / _STEPS_NAME).read_text("utf-8", errors="replace").splitlines()
    for line in lines:
        with suppress(
            ValueError, KeyError, TypeError, AttributeError
        ):  # cut off: only a time is lost
            fields = json.loads(line)
            name = fields.pop("name")
            use = StepUse(**fields)
            known.pop(name, None)
            known[name] = use
    return known


@contextmanager
def hold_participants(work_dir: Path, participant_labels: Sequence[str]) -> Iterator[None]:
    """Hold participants' places in the work directory, which two runs must not share.

    Raises
    ------
    WorkDirError
        When another run holds one of them.
    """
    with ExitStack() as stack:
        stack.enter_context(_hold(work_dir, _ALL, "everything", shared=True))
        for label in participant_labels:
            stack.enter_context(_hold(work_dir, f"sub-{label}", f"participant {label}"))
        yield


@contextmanager
def hold_group(work_dir: Path) -> Iterator[None]:
    """Hold the place of the group level in the work directory.

    Raises
    ------
    WorkDirError
        When another run holds it.
    """
    with (
        _hold(work_dir, _ALL, "everything", shared=True),
        _hold(work_dir, "group", "the group level"),
    ):
        yield


@contextmanager
def _hold(work_dir: Path, name: str, what: str, *, shared: bool = False) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(hold_lock(work_dir / f".{name}{_LOCK_ENDING}", shared=shared))
        except TimeoutError as error:
            raise WorkDirError(
                f"Another run of shd-bids is at work on {what} in {work_dir}. Wait for it, or give "
                "another --work-dir, and another output folder too unless it is on other sessions."
            ) from error
        yield
