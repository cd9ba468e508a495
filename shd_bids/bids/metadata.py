"""Metadata and gradient files of one image, found by BIDS inheritance."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bids.exceptions import NoMatchError
from bids.layout import BIDSLayout

from shd_bids.errors import BidsDataError

_OPPOSITE_LABELS = (frozenset({"AP", "PA"}), frozenset({"LR", "RL"}), frozenset({"IS", "SI"}))


def read_metadata(layout: BIDSLayout, image_file: Path) -> dict[str, Any]:
    """Read the metadata of an image from all sidecars that apply to it.

    Parameters
    ----------
    layout
        Index of the dataset.
    image_file
        An indexed image.

    Returns
    -------
    dict[str, Any]
        Merged fields, the nearest file winning; empty without sidecars.
    """
    return dict(layout.get_metadata(str(image_file)))


def find_gradient_files(layout: BIDSLayout, image_file: Path) -> tuple[Path, Path]:
    """Find the b-values and b-vectors of an image, beside it or inherited from a folder above.

    Parameters
    ----------
    layout
        Index of the dataset.
    image_file
        An indexed diffusion image.

    Returns
    -------
    tuple[Path, Path]
        The ``.bval`` and the ``.bvec`` file.

    Raises
    ------
    BidsDataError
        If one of them is missing.
    """
    found = [_nearest(getattr(layout, f"get_{kind}"), image_file) for kind in ("bval", "bvec")]
    bval_file, bvec_file = found
    if bval_file is None or bvec_file is None:
        kind = "bval" if bval_file is None else "bvec"
        beside = image_file.name.partition(".")[0] + f".{kind}"
        raise BidsDataError(
            f"{image_file.name} has no .{kind} file: searched for {beside} in {image_file.parent} "
            "and for files that apply to it in the folders above, by BIDS inheritance. Copy it "
            "there."
        )
    return bval_file, bvec_file


def phase_direction(metadata: Mapping[str, Any], direction_label: str | None) -> str | None:
    """Say how an image was phase-encoded.

    Parameters
    ----------
    metadata
        Its sidecar fields.
    direction_label
        Its ``dir`` entity, used when the sidecar does not say.

    Returns
    -------
    str or None
        ``i``, ``j-`` and so on from the sidecar, else the label, else None.
    """
    stated = metadata.get("PhaseEncodingDirection")
    return stated if isinstance(stated, str) and stated else direction_label


def are_opposite(one: str | None, other: str | None) -> bool:
    """Tell whether two phase encodings run along one axis in opposite directions.

    Parameters
    ----------
    one, other
        From `phase_direction`.

    Returns
    -------
    bool
        False where it cannot be told.

    Examples
    --------
    >>> are_opposite("j", "j-"), are_opposite("AP", "PA"), are_opposite("i", "j-")
    (True, True, False)
    """
    if one is None or other is None or one == other:
        return False
    if one.rstrip("-") == other.rstrip("-"):
        return True
    return frozenset({one.upper(), other.upper()}) in _OPPOSITE_LABELS


def _nearest(find: Any, image_file: Path) -> Path | None:
    try:
        file = find(str(image_file))
    except (NoMatchError, IndexError, FileNotFoundError):
        return None
    return Path(file) if file else None
