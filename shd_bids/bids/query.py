"""Images asked of the index, and what a user reads when it knows none."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bids.layout import BIDSLayout, Query

from shd_bids.bids.metadata import read_metadata
from shd_bids.bids.names import SHORT_NAMES
from shd_bids.errors import BidsDataError, ConfigError

IMAGE_EXTENSIONS = (".nii.gz", ".nii")
_LONGEST = 500  # letters of what PyBIDS says, which names what it was asked for


def find_images(layout: BIDSLayout, query: Mapping[str, Any]) -> list[Any]:
    """Find magnitude images in the index.

    Parameters
    ----------
    layout
        Index of the dataset.
    query
        PyBIDS entities; those of a filter file among them.

    Returns
    -------
    list
        PyBIDS files, ordered by path.

    Raises
    ------
    ConfigError
        If a filter names what is neither an entity nor a field of these images' sidecars.
    """
    named = {key: value for key, value in query.items() if key in layout.get_entities()}
    # PyBIDS knows no list of which one is "none" or "any"
    mixed = {
        key: value
        for key, value in named.items()
        if isinstance(value, list) and any(isinstance(one, Query) for one in value)
    }
    files = _ask(layout, {key: value for key, value in named.items() if key not in mixed})
    files = [file for file in files if _is_told(file.entities, mixed)]
    told = {key: value for key, value in query.items() if key not in named}
    if told:  # no entities: fields of sidecars, or misspelt
        metadata = {file.path: read_metadata(layout, Path(file.path)) for file in files}
        if not all(any(key in fields for fields in metadata.values()) for key in told):
            _ask(layout, query)
        files = [file for file in files if _is_told(metadata[file.path], told)]
    magnitudes = [file for file in files if file.entities.get("part") != "phase"]
    return sorted(magnitudes, key=lambda file: file.path)


def refuse_twins(files: Sequence[Path]) -> None:
    """Refuse an image that is there twice, packed and not: which one is meant cannot be told.

    Raises
    ------
    BidsDataError
        With the names of both.
    """
    first: dict[Path, Path] = {}
    for file in files:
        other = first.setdefault(file.with_name(file.name.partition(".")[0]), file)
        if other is not file:
            raise BidsDataError(
                f"{other.name} and {file.name} are both there, but BIDS has one image of a name. "
                f"Remove one of them from {file.parent}."
            )


def _ask(layout: BIDSLayout, query: Mapping[str, Any]) -> list[Any]:
    try:
        return list(layout.get(**{"extension": IMAGE_EXTENSIONS, **query}))
    except (ValueError, OverflowError) as error:  # pybids says which entity it does not know
        raise ConfigError(f"--bids-filter-file: {str(error)[:_LONGEST]}") from error


def _is_told(fields: Mapping[str, Any], told: Mapping[str, Any]) -> bool:
    for key, value in told.items():
        wanted = value if isinstance(value, list) else [value]
        there = fields.get(key) is not None
        if not (
            (there and (fields[key] in wanted or Query.ANY in wanted))
            or (not there and Query.NONE in wanted)
        ):
            return False
    return True


def short_entities(image: Any) -> dict[str, str]:
    """Give an indexed image's entities by their short names."""
    # pybids turns run-01 into a number that remembers its padding: its text is the label
    return {
        short: str(image.entities[name])
        for name, short in SHORT_NAMES.items()
        if image.entities.get(name) is not None
    }


def describe_missing(layout: BIDSLayout, query: Mapping[str, Any]) -> str:
    """Say what was searched for and what is there instead."""
    asked = ", ".join(f"{key}={value}" for key, value in query.items())
    present = layout.get(subject=query["subject"], extension=IMAGE_EXTENSIONS)
    names = sorted(file.filename for file in present)
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return (
        f"No diffusion images of participant {query['subject']} in {layout.root}. Searched for "
        f"{asked}; the images found there are: {shown or 'none'}."
    )
