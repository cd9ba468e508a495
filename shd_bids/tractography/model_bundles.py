"""Model bundles that a user gives: streamlines of known anatomy in one common space."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shd_bids.errors import ConfigError, TrackingError

from .streamlines import Streamlines
from .tractogram import READABLE, read_batches

FLAG = "--model-bundles"


@dataclass(frozen=True)
class ModelFiles:
    """The files of a folder of models.

    Attributes
    ----------
    bundles
        File of each bundle by its label, letters and digits only, sorted.
    whole_brain
        Streamlines of the whole brain in the same space, if there are any.
    """

    bundles: dict[str, Path]
    whole_brain: Path | None

    @property
    def all(self) -> list[Path]:
        """Every file."""
        return [*self.bundles.values(), *([self.whole_brain] if self.whole_brain else [])]


def find_model_files(folder: Path) -> ModelFiles:
    """List the model bundles of a folder.

    Parameters
    ----------
    folder
        Holds ``*.trk``, ``*.tck`` or ``*.trx``, one per bundle, and perhaps ``whole_brain*``; or,
        as the HCP-842 atlas is shipped, the folders ``bundles`` and ``whole_brain``.

    Returns
    -------
    files
        At least one bundle.

    Raises
    ------
    ConfigError
        If there is no model, if two have one label, or if several are of the whole brain.
    """
    bundle_dir = folder / "bundles" if (folder / "bundles").is_dir() else folder
    found = _streamline_files(bundle_dir)
    whole = [file for file in found if file.stem.lower().startswith("whole_brain")]
    bundles: dict[str, Path] = {}
    for file in found:
        if file in whole:
            continue
        label = "".join(c for c in file.stem if c.isascii() and c.isalnum())
        if not label or label in bundles:
            other = f"as {bundles[label].name} would have" if label else "which is empty"
            raise ConfigError(
                f"{FLAG}: {file} would have the label '{label}', {other}: labels are the letters "
                "and digits of the file's name. Rename it."
            )
        bundles[label] = file
    if not bundles:
        what = "no model bundle (*.trk, *.tck, *.trx)" if folder.is_dir() else "no such folder"
        raise ConfigError(
            f"{FLAG} {folder}: {what}. Expected one file of streamlines per bundle, in one space."
        )
    whole += _streamline_files(folder / "whole_brain")
    if len(whole) > 1:
        raise ConfigError(
            f"{FLAG} {folder}: {len(whole)} models of the whole brain "
            f"({', '.join(file.name for file in whole)}). Leave one."
        )
    return ModelFiles(bundles, whole[0] if whole else None)


def read_model(file: Path) -> Iterator[Streamlines]:
    """Read a model many streamlines at a time, points in RAS mm of the model's space.

    Raises
    ------
    ConfigError
        If the file cannot be read or holds no streamline of two points.
    """
    n_line = 0
    try:
        for some in read_batches(file):
            batch = some.where(some.n_points > 1)
            n_line += len(batch)
            if not np.isfinite(batch.points).all():
                raise ConfigError(f"{FLAG}: {file} holds points that are not finite. Leave it out.")
            yield batch
    except (TrackingError, OSError) as error:
        raise ConfigError(f"{FLAG} {file.parent}: {error}") from error
    if n_line == 0:
        raise ConfigError(f"{FLAG}: {file} holds no streamlines. Remove it or give a full one.")


def _streamline_files(folder: Path) -> list[Path]:
    files = folder.iterdir() if folder.is_dir() else ()
    return sorted(f for f in files if f.suffix.lower() in READABLE and f.name[0] != ".")
