"""Names of files: which entities, in which order."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Order of the BIDS specification, where BEP016 puts model and param between space and chunk, and
# BEP046 track and bundle (its tract) behind space: the voxel size, res, comes after all of these.
ENTITY_ORDER = (
    "sub",
    "ses",
    "sample",
    "task",
    "acq",
    "ce",
    "rec",
    "dir",
    "run",
    "echo",
    "part",
    "from",
    "to",
    "mode",
    "space",
    "model",
    "param",
    "track",
    "bundle",
    "chunk",
    "seg",
    "res",
    "label",
    "desc",
)

# What an input is called by: entities by the names that pybids and filter files use.
SHORT_NAMES = {
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


@dataclass(frozen=True)
class NamedSeries:
    """What a diffusion series is called by, raw or preprocessed."""

    entities: dict[str, str]

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


@dataclass(frozen=True)
class BidsName:
    """A file's name taken apart: ``sub-01_desc-brain_mask.nii.gz`` and the like."""

    entities: dict[str, str]
    suffix: str
    extension: str

    @classmethod
    def parse(cls, file: Path) -> "BidsName | None":
        """Take a name apart; None where it is no BIDS name.

        Examples
        --------
        >>> BidsName.parse(Path("sub-01_desc-brain_mask.nii.gz"))
        BidsName(entities={'sub': '01', 'desc': 'brain'}, suffix='mask', extension='.nii.gz')
        >>> BidsName.parse(Path("sub-01_my_notes.txt")) is None
        True
        """
        stem, dot, extension = file.name.partition(".")
        *parts, suffix = stem.split("_")
        pairs = [part.partition("-")[::2] for part in parts]
        if not suffix.isalnum() or not all(
            key.isalnum() and label.replace("+", "").isalnum() for key, label in pairs
        ):
            return None
        return cls(dict(pairs), suffix, dot + extension)


def derivative_path(
    entities: Mapping[str, str],
    *,
    datatype: str = "dwi",
    suffix: str,
    extension: str,
    **extra: str | None,
) -> Path:
    """Give the path of an output file, relative to the output dataset.

    Parameters
    ----------
    entities
        Entities of the source by their short names, at least ``sub``.
    datatype
        Folder; ``figures`` lies directly in the participant's folder, without a session.
    suffix, extension
        Last part of the name, as in ``dwimap`` and ``.nii.gz``.
    **extra
        More entities by their short names; those that are None are left out.

    Returns
    -------
    Path
        Entities in BIDS order.

    Raises
    ------
    ValueError
        If an entity has no place in a name or its label is not alphanumeric.

    Examples
    --------
    >>> source = {"sub": "01", "acq": "hi"}
    >>> derivative_path(
    ...     source, suffix="dwimap", extension=".nii.gz", label="WM", space="orig", model="csd",
    ...     param="fod",
    ... ).as_posix()
    'sub-01/dwi/sub-01_acq-hi_space-orig_model-csd_param-fod_label-WM_dwimap.nii.gz'
    """
    labels = {**entities, **{key: label for key, label in extra.items() if label is not None}}
    stem = entity_stem(labels)
    folder = Path(f"sub-{labels['sub']}")
    if "ses" in labels and datatype != "figures":
        folder /= f"ses-{labels['ses']}"
    return folder / datatype / f"{stem}_{suffix}{extension}"


def entity_stem(entities: Mapping[str, str]) -> str:
    """Join entities in BIDS order, as in ``sub-01_ses-test_space-orig``.

    Parameters
    ----------
    entities
        Labels by the entities' short names.

    Returns
    -------
    str
        The name without suffix.

    Raises
    ------
    ValueError
        If an entity has no place in a name or its label is not alphanumeric.
    """
    unknown = sorted(set(entities) - set(ENTITY_ORDER))
    if unknown:
        raise ValueError(f"No place in a name for {unknown}; known are {list(ENTITY_ORDER)}.")
    for key, label in entities.items():
        if not label.replace("+", "").isalnum():
            raise ValueError(f"The label of {key} must be letters and digits, not {label!r}.")
    return "_".join(f"{key}-{entities[key]}" for key in ENTITY_ORDER if key in entities)
