"""Numbers out of gradient files, checked, and vectors brought to unit length."""

import logging
import re
from pathlib import Path

import numpy as np
from jaxtyping import Float

from shd_bids.bids.files import say_missing
from shd_bids.errors import GradientTableError

LOGGER = logging.getLogger(__name__)

# what C reads as a number; Python would take 1_000 and digits of any script as well
_NUMBER = re.compile(
    r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE
)
_SHOWN = 40  # letters of a word, in messages
_LONGEST_VECTOR = 1.1
_SCALING_TOLERANCE = 0.01  # of the squared length; MRtrix3 rescales b-values from here on


def read_numbers(file: Path, what: str) -> Float[np.ndarray, "row column"]:
    """Read rows of numbers, set apart by blanks or commas; ``#`` starts a comment.

    Parameters
    ----------
    file
        Text.
    what
        Its numbers are, for messages.

    Returns
    -------
    Float[np.ndarray, "row column"]
        May hold NaN and infinity, which `refuse_infinite` refuses.

    Raises
    ------
    GradientTableError
        If the file is missing, empty, not text, ragged or not numeric.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise GradientTableError(f"{say_missing(file)}; it should hold the {what}.") from error
    except OSError as error:
        raise GradientTableError(
            f"{file.name} cannot be read: {error.strerror or error}; it should hold the {what}."
        ) from error
    except UnicodeDecodeError as error:
        raise GradientTableError(
            f"{file.name} is not a text file in UTF-8; it should hold the {what}. Save it as plain "
            "text."
        ) from error
    lines = [line.partition("#")[0].replace(",", " ").split() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        raise GradientTableError(f"{file.name} is empty; it should hold the {what}.")
    for word in (word for line in lines for word in line):
        if not _NUMBER.fullmatch(word):
            shown = word if len(word) <= _SHOWN else word[:_SHOWN] + "..."
            raise GradientTableError(
                f"{file.name} holds something else than {what}: {shown!r}. Expected numbers, set "
                "apart by blanks."
            )
    counts = sorted({len(line) for line in lines})
    if len(counts) > 1:
        raise GradientTableError(
            f"{file.name} has rows of {counts[0]} and of {counts[-1]} numbers; expected rows of "
            "equal length. Was it cut short?"
        )
    return np.array([[float(word) for word in line] for line in lines])


def refuse_infinite(numbers: Float[np.ndarray, "..."], name: str, what: str) -> None:
    """Refuse numbers that are not finite.

    Raises
    ------
    GradientTableError
        With how many there are.
    """
    n_bad = int((~np.isfinite(numbers)).sum())
    if n_bad:
        raise GradientTableError(
            f"{name} holds {n_bad} entries that are NaN or infinite; expected finite {what}. Write "
            "0 0 0 as the vector of a b=0 volume."
        )


def scale_to_unit(
    bvals: Float[np.ndarray, " volume"], bvecs: Float[np.ndarray, "volume 3"], name: str
) -> tuple[Float[np.ndarray, " volume"], Float[np.ndarray, "volume 3"]]:
    """Make vectors as long as 1, and b-values larger or smaller where lengths meant to.

    Parameters
    ----------
    bvals, bvecs
        As read.
    name
        Of the file, for messages.

    Returns
    -------
    tuple
        b-values and unit vectors, or zero vectors where there is no direction.

    Raises
    ------
    GradientTableError
        If a vector is longer than 1.1.
    """
    length = np.linalg.norm(bvecs, axis=1)
    if length.max(initial=0.0) > _LONGEST_VECTOR:
        raise GradientTableError(
            f"{name} holds a vector of length {length.max():.3g}; expected unit vectors (or "
            "shorter ones that scale the b-value). Check the file."
        )
    has_direction = length > 0
    squared = np.where(has_direction, length, 1.0) ** 2
    if np.abs(np.log(squared)).max(initial=0.0) > _SCALING_TOLERANCE:
        relative = bvals / max(bvals.max(), 1e-12)
        weighted = has_direction & (relative > 0.02)
        same_b = np.ptp(bvals[weighted]) <= 0.02 * bvals.max() if weighted.any() else True
        if not same_b and np.allclose(squared[weighted], relative[weighted], atol=0.02):
            LOGGER.warning(
                "The vectors of %s have the length sqrt(b / b_max): normalised, b-values kept.",
                name,
            )
        else:
            bvals = bvals * squared
            LOGGER.warning(
                "The vectors of %s have lengths of %.3g to %.3g: b-values multiplied by the "
                "squared length, as MRtrix3 does; now %.6g at most.",
                name,
                length[has_direction].min(),
                length.max(),
                bvals.max(),
            )
    return bvals, normalise(bvecs)


def normalise(vectors: Float[np.ndarray, "volume 3"]) -> Float[np.ndarray, "volume 3"]:
    """Divide vectors by their length; a zero vector stays."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)
