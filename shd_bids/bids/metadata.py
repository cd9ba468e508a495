"""Metadata and gradient files of one image, found by BIDS inheritance."""

from pathlib import Path
from typing import Any

from bids.exceptions import NoMatchError
from bids.layout import BIDSLayout

from shd_bids.errors import BidsDataError


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


def _nearest(find: Any, image_file: Path) -> Path | None:
    try:
        file = find(str(image_file))
    except (NoMatchError, IndexError, FileNotFoundError):
        return None
    return Path(file) if file else None
