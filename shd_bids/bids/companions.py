"""What stands beside a preprocessed image, found by names alone.

Preprocessing pipelines drop entities from some of their outputs and not from others, so a
companion's name need not be that of the image: its entities must be among the image's.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from shd_bids.bids.names import BidsName

Choices = Mapping[str, Sequence[str | None]]


def find_companion(
    folder: Path,
    entities: Mapping[str, str],
    *,
    suffix: str,
    extensions: Sequence[str],
    choices: Choices,
) -> Path | None:
    """Find the file of one kind that belongs to an image best.

    Parameters
    ----------
    folder
        To search, without folders below it.
    entities
        Of the image, by short names. Those of the file must be among them, ``choices`` apart.
    suffix
        Of the file.
    extensions
        In order of preference.
    choices
        Labels that an entity of the file may have, in order of preference; None: it has none.

    Returns
    -------
    Path or None
        By order of preference, then with most entities of the image, then first by name.
    """
    ranked = []
    for file in sorted(folder.glob(f"sub-{entities['sub']}_*")):
        name = BidsName.parse(file)
        if name is None or name.suffix != suffix or name.extension not in extensions:
            continue
        rest = {key: label for key, label in name.entities.items() if key not in choices}
        chosen = [(name.entities.get(key), labels) for key, labels in choices.items()]
        if all(entities.get(key) == label for key, label in rest.items()) and all(
            label in labels for label, labels in chosen
        ):
            places = [list(labels).index(label) for label, labels in chosen]
            ranked.append((places, extensions.index(name.extension), -len(rest), file))
    return min(ranked)[-1] if ranked else None


def find_sidecar(
    image_file: Path, entities: Mapping[str, str], *, extension: str, choices: Choices
) -> Path | None:
    """Find a file that says more of an image: its own, else one that no other image owns.

    Parameters
    ----------
    image_file
        The image.
    entities, choices
        As in `find_companion`.
    extension
        Of the sidecar.

    Returns
    -------
    Path or None
        None where there is none.
    """
    own = image_file.with_name(image_file.name.partition(".")[0] + extension)
    if own.is_file():
        return own
    suffix = own.name.partition(".")[0].rpartition("_")[2]
    found = find_companion(
        image_file.parent, entities, suffix=suffix, extensions=[extension], choices=choices
    )
    if found is None or any(found.parent.glob(f"{found.name.partition('.')[0]}.nii*")):
        return None
    return found


def list_images(folder: Path) -> str:
    """List the images in a folder, for a message."""
    names = sorted(
        str(file.relative_to(folder))
        for file in folder.rglob("*.nii*")
        if "figures" not in file.parts
    )
    return (", ".join(names[:10]) + (", ..." if len(names) > 10 else "")) or "none"
