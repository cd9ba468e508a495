"""Runs of one acquisition: which are merged and which serve distortion correction alone."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bids.layout import BIDSLayout

from shd_bids.bids.metadata import find_gradient_files, read_metadata
from shd_bids.bids.nifti import open_image
from shd_bids.bids.phase_encoding import PhaseEncodingFields, are_opposite, read_phase_encoding
from shd_bids.errors import BidsDataError

LOGGER = logging.getLogger(__name__)

_AFFINE_TOLERANCE_MM = 1e-3
_FULL_SET = 6  # as many directions as a tensor needs


@dataclass(frozen=True)
class DwiRun:
    """One image of the input with its gradient files, metadata and phase encoding."""

    dwi_file: Path
    bval_file: Path
    bvec_file: Path
    metadata: dict[str, Any]
    direction_label: str | None = None
    phase_encoding: PhaseEncodingFields | None = None

    @property
    def phase(self) -> str | None:
        """Direction of phase encoding, or the label where it cannot be told."""
        return self.phase_encoding.direction if self.phase_encoding else self.direction_label


def read_run(layout: BIDSLayout, image: Any) -> DwiRun:
    """Read what stands beside an indexed diffusion image.

    Raises
    ------
    BidsDataError
        If its gradient files are missing.
    """
    file, label = Path(image.path), image.entities.get("direction")
    metadata = read_metadata(layout, file)
    bval_file, bvec_file = find_gradient_files(layout, file)
    phase_encoding = find_phase_encoding(file, metadata, label)
    return DwiRun(file, bval_file, bvec_file, metadata, label, phase_encoding)


def find_phase_encoding(
    file: Path, metadata: dict[str, Any], label: str | None
) -> PhaseEncodingFields | None:
    """Read an image's phase encoding from its metadata, else from its name and orientation.

    Raises
    ------
    ImageError
        If the image cannot be opened.
    """
    header = open_image(file)
    affine = np.asarray(header.affine, dtype=np.float64)
    return read_phase_encoding(metadata, header.shape, label, affine, name=file.name)


def choose_runs(
    runs: Sequence[DwiRun], *, merge_opposite: bool
) -> tuple[tuple[DwiRun, ...], tuple[DwiRun, ...]]:
    """Split a group of runs into those to merge and those of reverse phase encoding.

    Parameters
    ----------
    runs
        That differ only in ``run`` and ``dir``, ordered by name.
    merge_opposite
        Merge those of opposite phase encoding too if they hold 6 or more diffusion-weighted
        volumes and share the grid.

    Returns
    -------
    merged, reverse
        Both ordered by name.

    Raises
    ------
    BidsDataError
        If runs of one phase encoding differ in their grid.
    """
    by_phase: dict[str | None, list[DwiRun]] = defaultdict(list)
    for run in runs:
        by_phase[run.phase].append(run)
    main = next(iter(by_phase))
    if len(by_phase) > 1:
        main = max(by_phase, key=lambda phase: sum(map(_n_weighted, by_phase[phase])))
    check_same_grid(by_phase[main])
    merged, reverse = list(by_phase[main]), []
    for phase, others in by_phase.items():
        if phase == main:
            continue
        names = ", ".join(run.dwi_file.name for run in others)
        if not are_opposite(main, phase):
            LOGGER.warning(
                "%s: left out, phase encoding %s is not opposite to %s.", names, phase, main
            )
        elif merge_opposite and _can_be_merged(by_phase[main][0], others):
            merged += others
            LOGGER.info("%s: merged after distortion correction, of opposite phase.", names)
        else:
            reverse += others
            LOGGER.info("%s: kept for distortion only, not merged.", names)
    return tuple(run for run in runs if run in merged), tuple(reverse)


def check_same_grid(runs: Sequence[DwiRun]) -> None:
    """Refuse to merge runs on different grids.

    Raises
    ------
    BidsDataError
        If their matrices, orientations or positions differ.
    """
    if len(runs) < 2:
        return
    first, *others = [open_image(run.dwi_file) for run in runs]
    for run, other in zip(runs[1:], others, strict=True):
        same_shape = other.shape[:3] == first.shape[:3]
        if same_shape and np.allclose(other.affine, first.affine, atol=_AFFINE_TOLERANCE_MM):
            continue
        what = "orientations or positions" if same_shape else "matrices"
        raise BidsDataError(
            f"{runs[0].dwi_file.name} {first.shape[:3]} and {run.dwi_file.name} {other.shape[:3]} "
            f"have different {what}, but runs of one acquisition are merged and must share their "
            "grid. Choose one with --bids-filter-file, or give them different acq- labels."
        )


def _can_be_merged(main: DwiRun, others: Sequence[DwiRun]) -> bool:
    if sum(map(_n_weighted, others)) < _FULL_SET:
        return False
    try:
        check_same_grid([main, *others])
    except BidsDataError as error:
        LOGGER.warning("Runs of opposite phase encoding are not merged: %s", error)
        return False
    return True


def _n_weighted(run: DwiRun) -> int:
    try:
        bvals = [float(word) for word in run.bval_file.read_text(encoding="utf-8").split()]
    except (OSError, ValueError):
        return 0  # reading the table for good will say what is wrong with it
    return sum(bval > 100 for bval in bvals)
