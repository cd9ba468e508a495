"""The output dataset as a study: who has which files, known by their names alone.

A study may have a thousand participants with dozens of files each. No index is built and no image
is opened: folders are listed, names are taken apart, and of each participant's last run its
settings are read.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from shd_bids.errors import BidsDataError

from .expected_outputs import missing_outputs
from .study_series import StudySeries, group_files

_NO_RUN_OF_STEPS = ("reports_only", "boilerplate_only")


class State(StrEnum):
    """How far a participant came."""

    FINISHED = "finished"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    NOT_PROCESSED = "not processed"


@dataclass(frozen=True)
class LastRun:
    """The last run that was to make something of a participant.

    Attributes
    ----------
    log_dir
        Its folder.
    settings
        By section and name, as they were resolved; empty if they cannot be read.
    crash_files
        What failed.
    """

    log_dir: Path
    settings: Mapping[str, Mapping[str, Any]]
    crash_files: tuple[Path, ...]


@dataclass(frozen=True)
class StudyParticipant:
    """One participant of the study.

    ``missing`` says what the last run was asked for and is not there, by the series' stem; what
    concerns no series stands under ``sub-X``.
    """

    label: str
    series: tuple[StudySeries, ...] = ()
    page_file: Path | None = None
    last_run: LastRun | None = None
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """How far the participant came."""
        if self.last_run is None and not self.series:
            return State.NOT_PROCESSED
        if self.last_run is not None and self.last_run.crash_files:
            return State.FAILED
        return State.INCOMPLETE if self.missing else State.FINISHED


@dataclass(frozen=True)
class Study:
    """All participants asked for, in the order of their labels."""

    output_dir: Path
    participants: tuple[StudyParticipant, ...]

    @property
    def series(self) -> list[StudySeries]:
        """All series of all participants."""
        return [one for participant in self.participants for one in participant.series]


def read_study(output_dir: Path, labels: Sequence[str] | None = None) -> Study:
    """List what an output dataset holds of its participants.

    Parameters
    ----------
    output_dir
        Root of the output dataset.
    labels
        Participants to list, with or without ``sub-``: those of the input dataset, or some of
        them. One without any output is not processed. None lists all that have a folder.

    Returns
    -------
    Study
        Each participant once.

    Raises
    ------
    BidsDataError
        If there is no such folder.
    """
    if not output_dir.is_dir():
        raise BidsDataError(
            f"There is no folder {output_dir}; expected the output of shd-bids at the level "
            "participant, which comes before the level group."
        )
    present: list[str] = []
    pages: dict[str, str] = {}
    with os.scandir(output_dir) as entries:
        for entry in entries:
            if not entry.name.startswith("sub-"):
                continue
            if entry.name.endswith(".html"):
                label = entry.name.removesuffix(".html").split("_")[0]
                pages[label] = min(entry.name, pages.get(label, entry.name), key=len)
            elif entry.is_dir():
                present.append(entry.name.removeprefix("sub-"))
    wanted = present if labels is None else [label.removeprefix("sub-") for label in labels]
    return Study(
        output_dir,
        tuple(
            _read_participant(output_dir, label, pages.get(f"sub-{label}"))
            for label in sorted(set(wanted))
        ),
    )


def _read_participant(output_dir: Path, label: str, page: str | None) -> StudyParticipant:
    folder = output_dir / f"sub-{label}"
    names = _list_names(folder)
    if not names:
        return StudyParticipant(label)
    folders = [folder, *(folder / name for name in names if name.startswith("ses-"))]
    series = group_files([file for one in folders for file in _list_files(one / "dwi")])
    last_run = _find_last_run(folder / "log")
    page_file = output_dir / page if page else None
    missing: dict[str, list[str]] = {}
    if last_run is not None:
        missing = {one.stem: missing_outputs(one, last_run.settings) for one in series}
        # a series of a dataset without sessions may be called as its participant is
        missing.setdefault(f"sub-{label}", []).extend(_gaps_of_all(series, page_file, last_run))
    missing = {stem: gaps for stem, gaps in missing.items() if gaps}
    return StudyParticipant(label, tuple(series), page_file, last_run, missing)


def _gaps_of_all(
    series: Sequence[StudySeries], page_file: Path | None, last_run: LastRun
) -> list[str]:
    """Say what the participant lacks beside files of its series."""
    gaps = [] if series else ["all outputs"]
    asked = last_run.settings.get("execution", {}).get("session_labels", ())
    done = {one.entities.get("ses") for one in series}
    if series:
        labels = [str(label).removeprefix("ses-") for label in asked]
        gaps += [f"session {label}" for label in labels if label not in done]
    return gaps if page_file else [*gaps, "report page"]


def _find_last_run(log_dir: Path) -> LastRun | None:
    """Find the last run by its folder's name, which starts with its date."""
    for name in reversed(_list_names(log_dir)):
        folder = log_dir / name
        inside = _list_names(folder)
        if "shd-bids.toml" not in inside:
            continue
        settings = _read_settings(folder / "shd-bids.toml")
        execution = settings.get("execution", {})
        if any(execution.get(what) for what in _NO_RUN_OF_STEPS):
            continue
        crash_files = tuple(folder / one for one in inside if one.startswith("crash-"))
        return LastRun(folder, settings, crash_files)
    return None


def _read_settings(file: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        return _parse_settings(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # cut off, or not ours: then nothing is known to be missing
        return {}


@lru_cache(maxsize=64)
def _parse_settings(text: str) -> Mapping[str, Mapping[str, Any]]:
    """Read TOML once where many participants were run together."""
    return {key: value for key, value in tomllib.loads(text).items() if isinstance(value, dict)}


def _list_files(folder: Path) -> list[Path]:
    return [folder / name for name in _list_names(folder) if not name.startswith(".")]


def _list_names(folder: Path) -> list[str]:
    try:
        return sorted(file.name for file in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
