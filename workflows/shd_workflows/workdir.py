"""The work directory: whose it is, emptied when asked, and held by one run per participant."""

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from shd_bids import __version__
from shd_bids.bids.files import write_json
from shd_bids.bids.locks import hold_lock, is_held
from shd_bids.errors import OutputError, WorkDirError

from .usage import StepUse

LOGGER = logging.getLogger(__name__)
STAMP_NAME = "shd-bids-work.json"
_STEPS_NAME = "steps.jsonl"


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
        When it was made by another version or from another dataset, or is to be emptied and was
        not made by shd-bids or is in use.
    OutputError
        When it cannot be written.
    """
    stamp_file = work_dir / STAMP_NAME
    wanted = {"version": __version__, "bids_dir": str(bids_dir.resolve())}
    if clean and work_dir.is_dir() and any(work_dir.iterdir()):
        if not stamp_file.is_file():
            raise WorkDirError(
                f"--clean-workdir would empty {work_dir}, which shd-bids did not make (it lacks "
                f"{STAMP_NAME}). Empty it yourself, or give another --work-dir."
            )
        if any(is_held(file) for file in work_dir.glob(".*.lock")):
            raise WorkDirError(
                f"--clean-workdir would empty {work_dir}, where another run of shd-bids is at "
                "work. Wait for it, or give another --work-dir."
            )
        LOGGER.info("Emptying the work directory %s.", work_dir)
        for entry in work_dir.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The work directory {work_dir} cannot be made: {error.strerror}. Give a folder that "
            "can be written with --work-dir."
        ) from error
    if not stamp_file.is_file():
        write_json(stamp_file, wanted)
        return
    try:
        found = json.loads(stamp_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WorkDirError(f"{stamp_file} is damaged: {error}. Use --clean-workdir.") from error
    for key, what in (("version", "version"), ("bids_dir", "dataset")):
        if found.get(key) != wanted[key]:
            raise WorkDirError(
                f"The work directory {work_dir} belongs to {what} {found.get(key)}; this run is of "
                f"{what} {wanted[key]}. Give another --work-dir, or --clean-workdir to start anew."
            )


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
    with (work_dir / _STEPS_NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"name": name, **asdict(use)}) + "\n")


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
        lines = (work_dir / _STEPS_NAME).read_text(encoding="utf-8").splitlines()
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
        for label in participant_labels:
            stack.enter_context(_hold(work_dir, f"sub-{label}", f"participant {label}"))
        yield


def hold_group(work_dir: Path) -> AbstractContextManager[None]:
    """Hold the place of the group level in the work directory.

    Raises
    ------
    WorkDirError
        When another run holds it.
    """
    return _hold(work_dir, "group", "the group level")


@contextmanager
def _hold(work_dir: Path, name: str, what: str) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(hold_lock(work_dir / f".{name}.lock"))
        except TimeoutError as error:
            raise WorkDirError(
                f"Another run of shd-bids is at work on {what} in {work_dir}. Wait for it, or give "
                "another --work-dir."
            ) from error
        yield
