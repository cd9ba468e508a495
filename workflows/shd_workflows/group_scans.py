"""The scans of a study: what the participant level has left of each, and which belong together."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shd_bids.bids.generators import is_preprocessed
from shd_bids.bids.preprocessed import find_preprocessed
from shd_bids.config import ExecutionConfig, PreprocConfig
from shd_bids.errors import BidsDataError, ShdBidsError
from shd_bids.response.io import SHELL_MATCH_TOLERANCE

from .study_scan import StudyScan, complete_scan

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyKind:
    """Scans of the same shells and tissues: they have one average response and one network.

    ``folder`` is where their results go, below the output dataset.
    """

    folder: str
    scans: tuple[StudyScan, ...]

    @property
    def shell_bvals(self) -> tuple[float, ...]:
        """Shells of the first scan, s/mm²."""
        return self.scans[0].shell_bvals

    @property
    def tissues(self) -> tuple[str, ...]:
        """Tissues that have a response."""
        return tuple(self.scans[0].responses)

    @property
    def name(self) -> str:
        """Shells and tissues in words."""
        shells = ", ".join(f"{bval:.0f}" for bval in self.shell_bvals)
        return f"b = {shells}; {', '.join(self.tissues)}"


@dataclass
class StudyScans:
    """What was found of a study; ``left_out`` says why a participant or a series is not in it."""

    scans: list[StudyScan] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def find_participants(execution: ExecutionConfig) -> list[str]:
    """List the participants that are meant: those named, or all of the input and of the output."""
    if execution.participant_labels:
        return list(dict.fromkeys(execution.participant_labels))
    folders = [
        folder
        for root in (execution.bids_dir, execution.output_dir)
        for folder in root.glob("sub-*")
        if folder.is_dir()
    ]
    return sorted({folder.name.removeprefix("sub-") for folder in folders})


def collect_scans(
    execution: ExecutionConfig,
    preproc: PreprocConfig,
    labels: Sequence[str],
    filters: Mapping[str, Mapping[str, Any]],
) -> StudyScans:
    """Find the preprocessed series of participants, with their masks and responses.

    Responses and masks lie in the output, where the participant level wrote them; series that were
    preprocessed before are where it took them from.

    Parameters
    ----------
    execution
        Where to look.
    preproc
        For the grouping into shells.
    labels
        Participants, without ``sub-``.
    filters
        As `read_filter_file` gives them.

    Returns
    -------
    StudyScans
        In the order of the labels.
    """
    found = StudyScans()
    dataset_dir = _series_dir(execution)
    for label in labels:
        try:
            with _quietly():
                series = find_preprocessed(
                    dataset_dir, label, session_labels=execution.session_labels, filters=filters
                )
        except BidsDataError as error:
            found.left_out[f"sub-{label}"] = (
                f"it has no preprocessed series: {error}"
                if (dataset_dir / f"sub-{label}").is_dir()
                else f"the participant level was not run: {dataset_dir} holds no sub-{label}"
            )
            continue
        for one in series:
            try:
                found.scans.append(complete_scan(one, execution.output_dir, preproc))
            except ShdBidsError as error:
                found.left_out[one.source_stem] = str(error)
    for name, reason in found.left_out.items():
        LOGGER.error("%s is left out: %s", name, reason)
    return found


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep back what a lookup tells of each series: a thousand of them would hide the rest."""
    logger = logging.getLogger("shd_bids.bids")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def sort_by_kind(scans: Sequence[StudyScan]) -> list[StudyKind]:
    """Sort scans by their shells and tissues, the most frequent kind first.

    Returns
    -------
    list of StudyKind
        One alone lies in ``group``, several in folders below it that are named by their shells.
    """
    kinds: list[list[StudyScan]] = []
    for scan in scans:
        kind = next((kind for kind in kinds if _alike(kind[0], scan)), None)
        if kind is None:
            kinds.append([scan])
        else:
            kind.append(scan)
    kinds.sort(key=len, reverse=True)
    if len(kinds) == 1:
        return [StudyKind("group", tuple(kinds[0]))]
    folders = [_folder(kind[0]) for kind in kinds]
    if len(set(folders)) < len(folders):
        folders = [f"{_folder(kind[0])}_{'+'.join(kind[0].responses)}" for kind in kinds]
    return [
        StudyKind(f"group/{folder}", tuple(kind))
        for folder, kind in zip(folders, kinds, strict=True)
    ]


def _series_dir(execution: ExecutionConfig) -> Path:
    """Give the dataset that holds the preprocessed series."""
    for folder in execution.derivatives.values():
        return folder
    preprocessed = execution.input_type == "qsiprep"
    if execution.input_type == "auto":
        preprocessed = is_preprocessed(execution.bids_dir)
    return execution.bids_dir if preprocessed else execution.output_dir


def _alike(first: StudyScan, second: StudyScan) -> bool:
    return (
        len(first.shell_bvals) == len(second.shell_bvals)
        and first.responses.keys() == second.responses.keys()
        and np.allclose(first.shell_bvals, second.shell_bvals, rtol=0, atol=SHELL_MATCH_TOLERANCE)
    )


def _folder(scan: StudyScan) -> str:
    return "b" + "-".join(f"{bval:.0f}" for bval in scan.shell_bvals)
