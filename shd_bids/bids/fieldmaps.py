"""Reverse-phase images in ``fmap/``: which of them are meant for a diffusion series.

A file is never guessed to be: the dataset must tie it to the series, by BIDS's identifiers
(``B0FieldIdentifier`` of the one, ``B0FieldSource`` of the other) or by ``IntendedFor``.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids.layout import BIDSLayout

from shd_bids.bids.metadata import read_metadata
from shd_bids.bids.phase_encoding import PhaseEncodingFields
from shd_bids.bids.query import find_images, refuse_twins
from shd_bids.bids.runs import DwiRun, find_phase_encoding

LOGGER = logging.getLogger(__name__)

_HERE = "bids::"
_OTHER_KINDS = ("fieldmap", "phasediff", "phase1", "phase2")


@dataclass(frozen=True)
class EpiFieldmap:
    """A spin-echo EPI image without diffusion weighting; its grid need not be the series'."""

    epi_file: Path
    phase_encoding: PhaseEncodingFields
    metadata: dict[str, Any]


def find_fieldmaps(
    layout: BIDSLayout,
    runs: Sequence[DwiRun],
    *,
    participant_label: str,
    session_label: str | None,
    filters: Mapping[str, Any],
) -> tuple[EpiFieldmap, ...]:
    """Find the ``fmap/*_epi`` images that the dataset ties to a series.

    Where identifiers match, they decide and ``IntendedFor`` is not asked. Identifiers hold within
    a session; ``IntendedFor`` names files in full, and so may cross sessions.

    Parameters
    ----------
    layout
        Index of the dataset.
    runs
        Of the series; one of them suffices for a tie.
    participant_label, session_label
        Of the series, without prefix.
    filters
        PyBIDS query under the key ``fmap`` of a filter file.

    Returns
    -------
    tuple of EpiFieldmap
        Those whose phase encoding is known and runs along the axis of the series; ordered by name.

    Raises
    ------
    ConfigError
        If a filter names an entity that the dataset does not use.
    """
    query = {"datatype": "fmap", "suffix": "epi", "subject": participant_label, **filters}
    images = find_images(layout, query)
    refuse_twins([Path(image.path) for image in images])
    metadata = {image.path: read_metadata(layout, Path(image.path)) for image in images}
    sources = {label for run in runs for label in _listed(run.metadata.get("B0FieldSource"))}
    same_session = [image for image in images if image.entities.get("session") == session_label]
    tied = [
        image
        for image in same_session
        if sources & set(_listed(metadata[image.path].get("B0FieldIdentifier")))
    ]
    if not tied:
        root = Path(layout.root)
        wanted = {run.dwi_file.absolute() for run in runs}
        tied = [
            image
            for image in images
            if wanted & set(_targets(metadata[image.path], root, participant_label))
        ]
    for image in same_session:
        if image not in tied:
            _explain(image.filename, metadata[image.path], runs[0], Path(layout.root))
    found = (_read(image, metadata[image.path], runs[0]) for image in tied)
    return tuple(fieldmap for fieldmap in found if fieldmap is not None)


def find_other_fieldmaps(
    layout: BIDSLayout,
    *,
    participant_label: str,
    session_label: str | None,
    filters: Mapping[str, Any],
) -> tuple[Path, ...]:
    """Find field maps in Hz and phase differences, to say that they are not used.

    Parameters
    ----------
    layout, participant_label, session_label, filters
        As of `find_fieldmaps`; ``IntendedFor`` is not asked.

    Returns
    -------
    tuple of Path
        Of the session, ordered by name.
    """
    query = {**filters, "datatype": "fmap", "suffix": _OTHER_KINDS, "subject": participant_label}
    images = find_images(layout, query)
    return tuple(
        Path(image.path) for image in images if image.entities.get("session") == session_label
    )


def _read(image: Any, metadata: dict[str, Any], run: DwiRun) -> EpiFieldmap | None:
    file = Path(image.path)
    phase_encoding = find_phase_encoding(file, metadata, image.entities.get("direction"))
    if phase_encoding is None:
        LOGGER.warning(
            "%s is not used: its phase encoding is not known. Add PhaseEncodingDirection to its "
            "JSON sidecar.",
            file.name,
        )
        return None
    if run.phase is not None and run.phase.rstrip("-") != phase_encoding.direction.rstrip("-"):
        LOGGER.warning(
            "%s is not used: its phase encoding %s is across that of %s, %s.",
            file.name,
            phase_encoding.direction,
            run.dwi_file.name,
            run.phase,
        )
        return None
    return EpiFieldmap(file, phase_encoding, metadata)


def _targets(metadata: Mapping[str, Any], root: Path, participant_label: str) -> list[Path]:
    """Resolve ``IntendedFor``: BIDS URIs from the root, old paths from the participant's folder."""
    places = [
        root / name.removeprefix(_HERE)
        if name.startswith(_HERE)
        else root / f"sub-{participant_label}" / name
        for name in _listed(metadata.get("IntendedFor"))
    ]
    # links are not followed: in a DataLad dataset every file is one
    return [Path(os.path.normpath(place.absolute())) for place in places]


def _explain(name: str, metadata: Mapping[str, Any], run: DwiRun, root: Path) -> None:
    """Say why a fieldmap is not taken where the dataset may have meant it to be."""
    participant_label = name.partition("_")[0].removeprefix("sub-")
    for target in _targets(metadata, root, participant_label):
        if not os.path.lexists(target):
            LOGGER.warning("%s: IntendedFor names %s, which does not exist.", name, target)
    if metadata.get("IntendedFor") or metadata.get("B0FieldIdentifier"):
        LOGGER.debug("%s is meant for other images than %s.", name, run.dwi_file.name)
        return
    uri = _HERE + run.dwi_file.absolute().relative_to(root.absolute()).as_posix()
    LOGGER.warning(
        "%s is not used: nothing ties it to %s. To use it, add to its JSON sidecar "
        '"IntendedFor": "%s", or give it a B0FieldIdentifier and the series the same '
        "B0FieldSource.",
        name,
        run.dwi_file.name,
        uri,
    )


def _listed(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str)]
