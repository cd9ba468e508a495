"""Places in the output that one run holds at a time, from whichever work directory it writes."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from shd_bids.bids.files import LOCK_NAME, remove_leftovers
from shd_bids.bids.locks import hold_lock
from shd_bids.errors import OutputError

_PATIENCE_S = 20.0  # for a run of another session, alone until now, that removes leftovers


@contextmanager
def hold_outputs(
    output_dir: Path, participant_labels: Sequence[str], session_labels: Sequence[str] = ()
) -> Iterator[None]:
    """Hold participants' folders in the output; what a killed process has left there is removed.

    That is done before and after: at the end no process of this run is left to write.

    Runs of different sessions may share a participant, as the tasks of an array do.

    Parameters
    ----------
    output_dir
        Root of the output dataset.
    participant_labels, session_labels
        Without prefix; no sessions for all.

    Raises
    ------
    OutputError
        When another run holds one of them.
    """
    with ExitStack() as stack:
        for label in participant_labels:
            stack.enter_context(_hold_participant(output_dir, label, session_labels))
        yield


@contextmanager
def hold_group_output(output_dir: Path) -> Iterator[None]:
    """Hold the folder of the group level in the output.

    Raises
    ------
    OutputError
        When another run holds it.
    """
    file = output_dir / "group" / "log" / LOCK_NAME
    with _hold(file, "the group level", output_dir), _cleaned(output_dir, "group"):
        yield


@contextmanager
def _hold_participant(
    output_dir: Path, label: str, session_labels: Sequence[str]
) -> Iterator[None]:
    file = output_dir / f"sub-{label}" / "log" / LOCK_NAME
    what = f"participant {label}"
    if not session_labels:
        with _hold(file, what, output_dir), _cleaned(output_dir, f"sub-{label}"):
            yield
        return
    _clean_if_alone(file, output_dir, f"sub-{label}")
    try:
        with ExitStack() as stack:
            patience = _PATIENCE_S  # tasks of an array start all at once
            stack.enter_context(_hold(file, what, output_dir, shared=True, timeout_s=patience))
            for session in session_labels:
                name = LOCK_NAME.replace(".lock", f"-ses-{session}.lock")
                own = f"session {session} of {what}"
                stack.enter_context(_hold(file.with_name(name), own, output_dir))
            yield
    finally:
        _clean_if_alone(file, output_dir, f"sub-{label}")


def _clean_if_alone(lock: Path, output_dir: Path, name: str) -> None:
    try:
        with hold_lock(lock):
            _clean(output_dir, name)
    except TimeoutError:  # runs of other sessions, perhaps: they may be writing
        pass


@contextmanager
def _cleaned(output_dir: Path, name: str) -> Iterator[None]:
    """Remove leftovers before and after."""
    try:
        _clean(output_dir, name)
        yield
    finally:
        _clean(output_dir, name)


def _clean(output_dir: Path, name: str) -> None:
    """Remove what has a temporary name in a folder, and beside it among its pages and tables."""
    remove_leftovers(output_dir / name, deep=True)
    remove_leftovers(output_dir, f"{name}.*")


@contextmanager
def _hold(
    file: Path, what: str, output_dir: Path, *, shared: bool = False, timeout_s: float = 0.0
) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(hold_lock(file, shared=shared, timeout_s=timeout_s))
        except TimeoutError as error:
            raise OutputError(
                f"Another run of shd-bids is at work on {what} in {output_dir}. Wait for it, or "
                "give another output folder."
            ) from error
        yield
