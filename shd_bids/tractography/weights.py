"""A weight for every streamline: which method gives it, and how it is kept in a file."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from shd_bids.config import TISSUES
from shd_bids.errors import ConfigError, TrackingError

LOGGER = logging.getLogger(__name__)

COLUMN = "weight"
_FIVE = ("GM", None, "WM", "CSF", None)  # cortical, deep, white, CSF, pathological


def choose_method(asked: str) -> str:
    """Say which method gives the weights on this machine.

    Parameters
    ----------
    asked
        As in `--streamline-weights`; ``auto`` is ``sift2`` where MRtrix3 is installed, else
        ``none``.

    Returns
    -------
    method
        ``sift2``, ``life`` or ``none``.

    Raises
    ------
    ConfigError
        If SIFT2 is asked for by name and ``tcksift2`` is not on PATH.
    """
    installed = shutil.which("tcksift2") is not None
    if asked == "sift2" and not installed:
        raise ConfigError(
            "--streamline-weights sift2 needs MRtrix3's program tcksift2, which is not on PATH. "
            "Install MRtrix3, or use --streamline-weights life or none."
        )
    if asked != "auto":
        return asked
    if not installed:
        LOGGER.warning(
            "MRtrix3's tcksift2 is not on PATH: streamlines get no weights, and connectomes no "
            "sum of weights. --streamline-weights life needs no other program."
        )
    return "sift2" if installed else "none"


def five_tissues(
    fractions: Mapping[str, Float[np.ndarray, "x y z"]], mask: Bool[np.ndarray, "x y z"]
) -> Float[np.ndarray, "x y z 5"] | None:
    """Put tissue fractions in the order of MRtrix3's 5TT images, which sum to 1 or to 0.

    Parameters
    ----------
    fractions
        Of ``WM``, ``GM`` and ``CSF``, 0 to 1.
    mask
        Brain mask; what is outside stays 0.

    Returns
    -------
    tissues
        Cortical and deep grey matter, white matter, CSF, pathological tissue, float32: deep and
        cortical grey matter cannot be told apart and count as cortical. None if one of the three
        tissues is absent or nowhere above 0.

    Examples
    --------
    >>> half = np.full((1, 1, 1), 0.4)
    >>> five_tissues({"WM": half, "GM": half, "CSF": 0.5 * half}, half > 0)[0, 0, 0].tolist()
    [0.4000000059604645, 0.0, 0.4000000059604645, 0.20000000298023224, 0.0]
    """
    if not all(tissue in fractions and np.any(fractions[tissue] > 0) for tissue in TISSUES):
        return None
    tissues = np.zeros((*mask.shape, len(_FIVE)), dtype=np.float32)
    for place, tissue in enumerate(_FIVE):
        if tissue is not None:
            tissues[mask, place] = np.nan_to_num(fractions[tissue][mask]).clip(0, 1)
    total = tissues.sum(axis=-1, keepdims=True)
    return np.divide(tissues, total, out=tissues, where=total > 0)


def write_weights(weights: Float[np.ndarray, " streamline"], file: Path) -> str:
    """Write weights as TSV of one column, in the order of the streamlines.

    Returns
    -------
    str
        The absolute path, as nipype wants it.
    """
    np.savetxt(file, weights, fmt="%.7g", header=COLUMN, comments="")
    return str(file.absolute())


def read_weights(file: Path) -> Float[np.ndarray, " streamline"]:
    """Read what `write_weights` wrote, or what MRtrix3 writes, as 32-bit floats.

    Parameters
    ----------
    file
        Numbers between white space, after lines that start with ``#`` or name the column.

    Raises
    ------
    TrackingError
        If a number is missing or not finite.
    """
    with file.open("rb") as stream:
        start = 0
        while stream.readline().startswith((b"#", COLUMN.encode())):
            start = stream.tell()
        stream.seek(start)
        try:
            weights = np.fromfile(stream, dtype=np.float32, sep=" ")
        except ValueError as error:
            raise TrackingError(
                f"{file} holds something else than numbers; expected one per streamline."
            ) from error
    if not np.all(np.isfinite(weights)):
        raise TrackingError(
            f"{file} holds {np.count_nonzero(~np.isfinite(weights))} weights that are no finite "
            f"numbers, of {len(weights)}. Weigh the streamlines again, or use "
            "--streamline-weights none."
        )
    return weights
