"""Diffusion series: which runs of the input dataset go into one output."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from bids.layout import BIDSLayout
from nibabel.filebasedimages import ImageFileError

from shd_bids.bids.metadata import (
    are_opposite,
    find_gradient_files,
    phase_direction,
    read_metadata,
)
from shd_bids.bids.names import entity_stem
from shd_bids.errors import BidsDataError, ConfigError

LOGGER = logging.getLogger(__name__)

IMAGE_EXTENSIONS = (".nii.gz", ".nii")
_SHORT_NAMES = {
    "subject": "sub",
    "session": "ses",
    "sample": "sample",
    "acquisition": "acq",
    "ceagent": "ce",
    "reconstruction": "rec",
    "direction": "dir",
    "run": "run",
    "echo": "echo",
    "part": "part",
    "chunk": "chunk",
}
_AFFINE_TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class DwiRun:
    """One image of the input with its gradient files and metadata."""

    dwi_file: Path
    bval_file: Path
    bvec_file: Path
    metadata: dict[str, Any]


@dataclass(frozen=True)
class DwiSeries:
    """The runs that become one output: one session, one acquisition, one phase encoding."""

    entities: dict[str, str]
    runs: tuple[DwiRun, ...]
    reverse_phase_runs: tuple[DwiRun, ...]
    t1w_file: Path | None

    @property
    def participant_label(self) -> str:
        """Label without ``sub-``."""
        return self.entities["sub"]

    @property
    def session_label(self) -> str | None:
        """Label without ``ses-``; None for a dataset without sessions."""
        return self.entities.get("ses")

    @property
    def source_stem(self) -> str:
        """Start of every output's name, as in ``sub-01_ses-test_acq-x``."""
        return entity_stem(self.entities)


def collect_series(
    layout: BIDSLayout,
    participant_label: str,
    *,
    session_labels: Sequence[str] = (),
    filters: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[DwiSeries]:
    """Collect the diffusion series of one participant.

    Images that differ only in ``run`` and ``dir`` form a group. In it, images of one phase
    encoding are merged in the order of their names. Of several phase encodings, the one with
    most diffusion-weighted volumes is taken (of equals, the first by name); those opposite to it
    become `DwiSeries.reverse_phase_runs`, also when they carry a full set of directions,
    because without distortion correction the two do not match voxel by voxel. Phase images
    (``part-phase``) and derived ones are left out.

    Parameters
    ----------
    layout
        Index of the input, from `shd_bids.bids.dataset.open_layout`.
    participant_label
        With or without ``sub-``.
    session_labels
        With or without ``ses-``; empty for all.
    filters
        PyBIDS queries under the keys ``dwi`` and ``t1w``.

    Returns
    -------
    list[DwiSeries]
        Ordered by name.

    Raises
    ------
    BidsDataError
        If nothing is found, gradient files are missing, or runs to merge differ in their grid.
    ConfigError
        If a filter names an entity that the dataset does not use.
    """
    filters = filters or {}
    label = participant_label.removeprefix("sub-")
    query: dict[str, Any] = {"datatype": "dwi", "suffix": "dwi", "extension": IMAGE_EXTENSIONS}
    query |= {"subject": label}
    if session_labels:
        query["session"] = [name.removeprefix("ses-") for name in session_labels]
    query |= filters.get("dwi", {})
    images = [file for file in _get(layout, query) if file.entities.get("part") != "phase"]
    if not images:
        raise BidsDataError(_nothing_found(layout, query))
    groups: dict[tuple[tuple[str, str], ...], list[Any]] = defaultdict(list)
    for image in sorted(images, key=lambda file: file.path):
        entities = _short_entities(image)
        key = {name: value for name, value in entities.items() if name not in ("run", "dir")}
        groups[tuple(key.items())].append(image)
    series = [_series_of_group(layout, group, filters) for group in groups.values()]
    return sorted(series, key=lambda one: one.source_stem)


def _series_of_group(
    layout: BIDSLayout, images: list[Any], filters: Mapping[str, Mapping[str, Any]]
) -> DwiSeries:
    by_phase: dict[str | None, list[tuple[Any, DwiRun]]] = defaultdict(list)
    for image in images:
        metadata = read_metadata(layout, Path(image.path))
        bval_file, bvec_file = find_gradient_files(layout, Path(image.path))
        run = DwiRun(Path(image.path), bval_file, bvec_file, metadata)
        phase = phase_direction(metadata, image.entities.get("direction"))
        by_phase[phase].append((image, run))
    main = next(iter(by_phase))
    if len(by_phase) > 1:
        main = max(by_phase, key=lambda phase: sum(_n_weighted(run) for _, run in by_phase[phase]))
    runs = tuple(run for _, run in by_phase[main])
    _check_same_grid(runs)
    reverse: list[DwiRun] = []
    for phase, others in by_phase.items():
        if phase == main:
            continue
        names = ", ".join(run.dwi_file.name for _, run in others)
        if are_opposite(main, phase):
            reverse += [run for _, run in others]
            LOGGER.info("%s: kept for distortion only, not merged.", names)
        else:
            LOGGER.warning(
                "%s: left out, phase encoding %s is not opposite to %s.", names, phase, main
            )
    labels = [_short_entities(image) for image, _ in by_phase[main]]
    shared = {
        key: value
        for key, value in labels[0].items()
        if all(value == other.get(key) for other in labels)
    }
    t1w_file = _find_t1w(layout, shared, filters.get("t1w", {}))
    return DwiSeries(shared, runs, tuple(reverse), t1w_file)


def _short_entities(image: Any) -> dict[str, str]:
    # pybids turns run-01 into a number that remembers its padding: its text is the label
    return {
        short: str(image.entities[name])
        for name, short in _SHORT_NAMES.items()
        if image.entities.get(name) is not None
    }


def _n_weighted(run: DwiRun) -> int:
    try:
        bvals = [float(word) for word in run.bval_file.read_text(encoding="utf-8").split()]
    except (OSError, ValueError):
        return 0  # reading the table for good will say what is wrong with it
    return sum(bval > 100 for bval in bvals)


def _check_same_grid(runs: Sequence[DwiRun]) -> None:
    if len(runs) < 2:
        return
    first, *others = [_open(run.dwi_file) for run in runs]
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


def _open(file: Path) -> nib.Nifti1Image:
    try:
        return cast(nib.Nifti1Image, nib.load(file))
    except (OSError, EOFError, ImageFileError) as error:
        raise BidsDataError(f"{file.name} cannot be read as NIfTI: {error}.") from error


def _find_t1w(
    layout: BIDSLayout, entities: Mapping[str, str], filters: Mapping[str, Any]
) -> Path | None:
    query: dict[str, Any] = {"datatype": "anat", "suffix": "T1w", "extension": IMAGE_EXTENSIONS}
    query |= {"subject": entities["sub"], **filters}
    files = sorted(_get(layout, query), key=lambda file: file.path)
    files = [file for file in files if file.entities.get("part") != "phase"]
    same_session = [f for f in files if f.entities.get("session") == entities.get("ses")]
    files = same_session or files
    if len(files) > 1:
        LOGGER.info("%d T1w images: %s is taken.", len(files), files[0].filename)
    return Path(files[0].path) if files else None


def _get(layout: BIDSLayout, query: Mapping[str, Any]) -> list[Any]:
    try:
        return layout.get(**query)
    except ValueError as error:  # pybids says which entity it does not know, and its neighbours
        raise ConfigError(f"--bids-filter-file: {error}") from error


def _nothing_found(layout: BIDSLayout, query: Mapping[str, Any]) -> str:
    asked = ", ".join(f"{key}={value}" for key, value in query.items())
    present = layout.get(subject=query["subject"], extension=IMAGE_EXTENSIONS)
    names = sorted(file.filename for file in present)
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return (
        f"No diffusion images of participant {query['subject']} in {layout.root}. Searched for "
        f"{asked}; the images found there are: {shown or 'none'}."
    )
