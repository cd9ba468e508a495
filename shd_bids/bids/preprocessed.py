"""Series that another pipeline has preprocessed: QSIPrep, or any with ``desc-preproc_dwi``.

They are found by the pattern of their names and not through PyBIDS: its index of derivatives
refuses names that it has no rule for (``.b``, ``dwiref``, ``from-ACPC``) and reads every sidecar.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shd_bids.bids.companions import Choices, find_companion, find_sidecar, list_images
from shd_bids.bids.dataset import check_sessions, read_dataset_description, select_participants
from shd_bids.bids.filters import matches
from shd_bids.bids.generators import is_by_qsiprep
from shd_bids.bids.json_files import read_json_object
from shd_bids.bids.names import ENTITY_ORDER, BidsName, NamedSeries
from shd_bids.bids.own import OwnResults, own_version
from shd_bids.bids.preprocessed_files import (
    IMAGES,
    GradientFiles,
    PreprocessedAnatomy,
    find_anatomy,
    find_gradients,
)
from shd_bids.errors import BidsDataError

LOGGER = logging.getLogger(__name__)

_SPACES = ("ACPC", "T1w", None)  # in order of preference; T1w is what QSIPrep wrote before 1.0


@dataclass(frozen=True)
class PreprocessedSeries(NamedSeries):
    """A preprocessed series and what came with it; what did not is None."""

    space: str | None
    dwi_file: Path
    gradients: GradientFiles
    mask_file: Path | None
    confounds_file: Path | None
    qc_file: Path | None
    anatomy: PreprocessedAnatomy | None
    metadata: dict[str, Any]
    own: OwnResults | None = None  # what an earlier run of shd-bids made of it

    @property
    def source_files(self) -> tuple[Path, ...]:
        """The image that the series is."""
        return (self.dwi_file,)

    @property
    def space_label(self) -> str:
        """What the ``space`` entity of every output says."""
        return self.space or "orig"

    @property
    def shared_metadata(self) -> dict[str, Any]:
        """Fields of its sidecar, without those that say what it was made from."""
        return {key: value for key, value in self.metadata.items() if key != "Sources"}


def find_preprocessed(
    dataset_dir: Path,
    participant_label: str,
    *,
    session_labels: Sequence[str] = (),
    filters: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[PreprocessedSeries]:
    """Find the preprocessed series of one participant.

    Of a series that is there in several spaces, ACPC is taken before T1w, T1w before no label,
    and that before all others. Nothing is resampled.

    Parameters
    ----------
    dataset_dir
        Root of the derivatives, the folder that holds ``sub-*``.
    participant_label
        With or without ``sub-``.
    session_labels
        With or without ``ses-``; empty for all.
    filters
        Queries under the key ``dwi``, as in `shd_bids.bids.dataset.read_filter_file`; ``space``
        may be among them.

    Returns
    -------
    list[PreprocessedSeries]
        Ordered by name.

    Raises
    ------
    BidsDataError
        If the participant, a session, a series or its gradients are not there, with what was
        searched for and what was found.
    ConfigError
        If a filter names an entity that is not known.
    """
    (label,) = select_participants(dataset_dir, [participant_label])
    sessions = [name.removeprefix("ses-") for name in session_labels]
    check_sessions(dataset_dir, [label], sessions)
    query = dict((filters or {}).get("dwi", {}))
    folder = dataset_dir / f"sub-{label}"
    by_source: dict[tuple[tuple[str, str], ...], dict[str | None, Path]] = defaultdict(dict)
    for file in _candidates(folder):
        name = BidsName.parse(file)
        if name is None or not _is_usable(name, file):
            continue
        if sessions and name.entities.get("ses") not in sessions:
            continue
        if not matches(name, query, datatype="dwi"):
            continue
        entities = {k: v for k, v in name.entities.items() if k not in ("space", "desc")}
        by_source[tuple(entities.items())].setdefault(name.entities.get("space"), file)
    if not by_source:
        raise BidsDataError(_nothing_found(dataset_dir, label, sessions, query))
    description = read_dataset_description(dataset_dir)
    by_us = own_version(description) is not None
    by_qsiprep = is_by_qsiprep(description) and not by_us
    series = [
        _read_series(folder, dict(entities), in_space, by_qsiprep, by_us)
        for entities, in_space in by_source.items()
    ]
    return sorted(series, key=lambda one: one.source_stem)


def _candidates(folder: Path) -> list[Path]:
    return sorted(
        file
        for pattern in ("dwi", "ses-*/dwi")
        for file in folder.glob(f"{pattern}/{folder.name}_*desc-preproc*_dwi.nii*")
    )


def _is_usable(name: BidsName, file: Path) -> bool:
    if name.entities.get("desc") != "preproc" or name.extension not in IMAGES:
        return False
    unknown = sorted(set(name.entities) - set(ENTITY_ORDER))
    session = name.entities.get("ses")
    folder = file.parent.parent.name
    if unknown:
        LOGGER.warning("%s is passed over: no entity %s is known.", file, ", ".join(unknown))
    elif folder.startswith("ses-") != (session is not None) or (
        session is not None and folder != f"ses-{session}"
    ):
        LOGGER.warning("%s is passed over: its name and its folder disagree on ses-.", file)
    else:
        return True
    return False


def _read_series(
    folder: Path,
    entities: dict[str, str],
    in_space: Mapping[str | None, Path],
    by_qsiprep: bool,
    by_us: bool,
) -> PreprocessedSeries:
    space = min(in_space, key=_preference)
    dwi_file = in_space[space]
    if len(in_space) > 1:
        LOGGER.info("%s is there in %d spaces: %s.", dwi_file.name, len(in_space), space)

    def find(
        suffix: str, extensions: Sequence[str], **choices: Sequence[str | None]
    ) -> Path | None:
        return find_companion(
            dwi_file.parent, entities, suffix=suffix, extensions=extensions, choices=choices
        )

    here = [space, None] if space is not None else [None]
    own: Choices = {"space": [space], "desc": ["preproc"]}
    series = PreprocessedSeries(
        entities=entities,
        space=space,
        dwi_file=dwi_file,
        gradients=find_gradients(dwi_file, entities, space, by_qsiprep=by_qsiprep),
        mask_file=find("mask", IMAGES, space=here, desc=["brain", None], label=[None, "brain"]),
        confounds_file=find("timeseries", [".tsv"], space=[None, *here], desc=["confounds"])
        or find("confounds", [".tsv"], space=[None, *here]),
        qc_file=find("qc", [".tsv"], space=here, desc=["image"]),
        anatomy=find_anatomy(folder, entities, space, by_qsiprep=by_qsiprep),
        metadata=_read_json(find_sidecar(dwi_file, entities, extension=".json", choices=own)),
    )
    for what, there in (
        ("brain mask", series.mask_file),
        ("confounds", series.confounds_file),
        ("anatomy in its space", series.anatomy),
    ):
        if there is None and not by_us:  # what is taken of our own is told where it is planned
            LOGGER.info("%s comes without %s.", dwi_file.name, what)
    return series


def _preference(space: str | None) -> tuple[int, str]:
    return (_SPACES.index(space) if space in _SPACES else len(_SPACES), space or "")


def _read_json(file: Path | None) -> dict[str, Any]:
    return {} if file is None else read_json_object(file)


def _nothing_found(
    dataset_dir: Path, label: str, sessions: Sequence[str], query: Mapping[str, Any]
) -> str:
    places = [f"ses-{session}/" for session in sessions] or ["", "ses-*/"]
    patterns = [f"sub-{label}/{place}dwi/*_desc-preproc_dwi.nii[.gz]" for place in places]
    asked = ", ".join(f"{key}={value}" for key, value in query.items())
    return (
        f"No preprocessed diffusion images of participant {label} in {dataset_dir}. Searched for "
        f"{' and '.join(patterns)}{f' with {asked}' if asked else ''}; the images found in "
        f"sub-{label} are: {list_images(dataset_dir / f'sub-{label}')}. For unprocessed data give "
        "--input-type raw."
    )
