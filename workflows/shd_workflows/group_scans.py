"""The scans of a study: what the participant level has left of each, and which belong together."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shd_bids.bids.generators import is_preprocessed
from shd_bids.bids.names import derivative_path
from shd_bids.bids.preprocessed import PreprocessedSeries, find_preprocessed
from shd_bids.bids.preprocessed_files import GradientFiles
from shd_bids.config import TISSUES, ExecutionConfig
from shd_bids.dwi.gradients import check_volume_count, read_gradients
from shd_bids.dwi.images import open_image
from shd_bids.errors import BidsDataError, ImageError, ShdBidsError
from shd_bids.response.io import SHELL_MATCH_TOLERANCE, read_shells

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyScan:
    """One series that the participant level has brought as far as its responses."""

    name: str  # start of its files' names, as in sub-01_ses-a
    dwi_file: Path
    gradients: GradientFiles
    mask_file: Path
    responses: dict[str, Path]  # by tissue
    shell_bvals: tuple[float, ...]  # s/mm², b=0 first
    size_gb: float  # as 32-bit floats


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
    execution: ExecutionConfig, labels: Sequence[str], filters: Mapping[str, Mapping[str, Any]]
) -> StudyScans:
    """Find the preprocessed series of participants, with their masks and responses.

    Responses and masks lie in the output, where the participant level wrote them; series that were
    preprocessed before are where it took them from.

    Parameters
    ----------
    execution
        Where to look.
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
                found.scans.append(_complete(one, execution.output_dir))
            except ShdBidsError as error:
                found.left_out[one.source_stem] = str(error)
    for name, reason in found.left_out.items():
        LOGGER.error("%s is left out: %s", name, reason)
    return found


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


def _complete(series: PreprocessedSeries, output_dir: Path) -> StudyScan:
    """Find the mask and the responses of a series, and look at its header and gradients.

    Raises
    ------
    ShdBidsError
        If one of them is not there or cannot be used.
    """

    def place(suffix: str, extension: str, **extra: str) -> Path:
        space = series.space_label
        return output_dir / derivative_path(
            series.entities, suffix=suffix, extension=extension, space=space, **extra
        )

    mask_file = place("mask", ".nii.gz", desc="brain")
    responses = {
        tissue: place("dwimap", ".txt", param="response", label=tissue) for tissue in TISSUES
    }
    there = {tissue: file for tissue, file in responses.items() if file.is_file()}
    for file in (mask_file, responses["WM"]):
        if not file.is_file():
            raise BidsDataError(
                f"{file} is missing. Run the participant level for it, with --level response at "
                "least and without --response: a study is averaged from what its scans tell "
                "themselves."
            )
    image, gradients = open_image(series.dwi_file), series.gradients
    if len(image.shape) != 4:
        raise ImageError(f"{series.dwi_file} is {len(image.shape)}-D; expected a 4-D series.")
    table = read_gradients(gradients.files, gradients.convention, image.affine)
    check_volume_count(table, image.shape[3], series.dwi_file.name)
    return StudyScan(
        series.source_stem,
        series.dwi_file,
        gradients,
        mask_file,
        there,
        tuple(float(bval) for bval in read_shells(there["WM"])),
        4e-9 * float(np.prod(image.shape)),
    )


def _alike(first: StudyScan, second: StudyScan) -> bool:
    return (
        len(first.shell_bvals) == len(second.shell_bvals)
        and first.responses.keys() == second.responses.keys()
        and np.allclose(first.shell_bvals, second.shell_bvals, rtol=0, atol=SHELL_MATCH_TOLERANCE)
    )


def _folder(scan: StudyScan) -> str:
    return "b" + "-".join(f"{bval:.0f}" for bval in scan.shell_bvals)
