"""Metadata and gradient files of one image, found by BIDS inheritance."""

from pathlib import Path
from typing import Any

from bids.exceptions import NoMatchError
from bids.layout import BIDSLayout

from shd_bids.bids.json_files import read_json_object
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

    Raises
    ------
    BidsDataError
        If a sidecar is not a JSON object.
    """
    root = Path(layout.root).absolute()
    folders = [image_file.absolute().parent]
    while folders[-1] != root and root in folders[-1].parents:
        folders.append(folders[-1].parent)
    fields: dict[str, Any] = {}
    for folder in reversed(folders):
        for file in _applicable(folder, image_file):
            fields |= read_json_object(file)
    return fields


def _applicable(folder: Path, image_file: Path) -> list[Path]:
    """List a folder's sidecars that apply to an image, those that say most of it last."""
    *parts, suffix = image_file.name.partition(".")[0].split("_")
    own = {_number_run(part) for part in parts}
    found = []
    for file in sorted(folder.glob(f"*{suffix}.json")):
        *entities, name = file.name.removesuffix(".json").split("_")
        if name == suffix and {_number_run(part) for part in entities} <= own:
            found.append((len(entities), file))
    return [file for _, file in sorted(found)]


def _number_run(part: str) -> str:
    """Make run-01 and run-1 one."""
    key, _, label = part.partition("-")
    return f"run-{int(label)}" if key == "run" and label.isdecimal() else part


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
