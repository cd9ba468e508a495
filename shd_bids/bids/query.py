"""Images asked of the index, and what a user reads when it knows none."""

from collections.abc import Mapping
from typing import Any

from bids.layout import BIDSLayout

from shd_bids.bids.names import SHORT_NAMES
from shd_bids.errors import ConfigError

IMAGE_EXTENSIONS = (".nii.gz", ".nii")


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
        If a filter names an entity that the dataset does not use.
    """
    try:
        files = layout.get(**{"extension": IMAGE_EXTENSIONS, **query})
    except ValueError as error:  # pybids says which entity it does not know, and its neighbours
        raise ConfigError(f"--bids-filter-file: {error}") from error
    magnitudes = [file for file in files if file.entities.get("part") != "phase"]
    return sorted(magnitudes, key=lambda file: file.path)


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
