"""How an image was phase-encoded: along which of its axes, which way, for how long."""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from jaxtyping import Float
from nibabel.orientations import io_orientation

LOGGER = logging.getLogger(__name__)

_AXES = "ijk"
_LONGEST_READOUT_S = 5.0  # no echo train lasts so long: such a number is in ms
_MOST_LINES = 10_000.0
# RAS+ axis and sense in which the index runs: AP goes from anterior to posterior
_LABELS = {"LR": (0, 1), "RL": (0, -1), "PA": (1, 1), "AP": (1, -1), "IS": (2, 1), "SI": (2, -1)}


class PhaseEncodingFields(NamedTuple):
    """Direction in BIDS's words (``i``, ``j-``, ...) and total readout time in s, if known."""

    direction: str
    readout_s: float | None


def read_phase_encoding(
    metadata: Mapping[str, Any],
    shape: tuple[int, ...],
    direction_label: str | None,
    affine: Float[np.ndarray, "4 4"],
    *,
    name: str,
) -> PhaseEncodingFields | None:
    """Read how an image was phase-encoded from its metadata, else from its name.

    ``PhaseEncodingDirection`` is taken as it is. ``PhaseEncodingAxis``, which older converters
    write where the sense is unknown, takes its sense from a label that runs along the same axis,
    and is positive otherwise. Where the metadata are silent, a label such as AP is turned into an
    axis of the image by its orientation. All but the first is said in a warning.

    Parameters
    ----------
    metadata
        Fields of the image's sidecars.
    shape
        Of the image.
    direction_label
        Its ``dir`` entity.
    affine
        Voxel to RAS+ mm.
    name
        Of the image, for the log.

    Returns
    -------
    PhaseEncodingFields or None
        None where neither metadata nor name say it.

    Examples
    --------
    >>> metadata = {"PhaseEncodingDirection": "j-", "EffectiveEchoSpacing": 0.0005}
    >>> read_phase_encoding(metadata, (96, 101, 60), None, np.eye(4), name="dwi.nii.gz")
    PhaseEncodingFields(direction='j-', readout_s=0.05)
    >>> read_phase_encoding({}, (96, 101, 60), "AP", np.eye(4), name="dwi.nii.gz")
    PhaseEncodingFields(direction='j-', readout_s=None)
    """
    direction = _direction(metadata, direction_label, affine, name)
    if direction is None:
        return None
    axis = _AXES.index(direction[0])
    n_phase = shape[axis] if axis < len(shape) else 1
    return PhaseEncodingFields(direction, _readout_s(metadata, n_phase, name))


def are_opposite(one: str | None, other: str | None) -> bool:
    """Tell whether two phase encodings run along one axis in opposite directions.

    Parameters
    ----------
    one, other
        `PhaseEncodingFields.direction`, or anything else where it is not known.

    Returns
    -------
    bool
        False where it cannot be told.

    Examples
    --------
    >>> are_opposite("j", "j-"), are_opposite("j", "j"), are_opposite("i", "j-")
    (True, False, False)
    """
    if one is None or other is None or one == other:
        return False
    return one.rstrip("-") == other.rstrip("-")


def _direction(
    metadata: Mapping[str, Any],
    label: str | None,
    affine: Float[np.ndarray, "4 4"],
    name: str,
) -> str | None:
    stated = metadata.get("PhaseEncodingDirection")
    if _is_direction(stated):
        return stated
    by_label = _from_label(label, affine)
    axis = metadata.get("PhaseEncodingAxis")
    if _is_direction(axis):
        agrees = by_label is not None and by_label[0] == axis[0]
        direction = by_label if agrees and len(axis) == 1 else axis
        found = f"PhaseEncodingAxis {axis}" + (f" and dir-{label}" if agrees else "")
    elif by_label is not None:
        direction, found = by_label, f"dir-{label}"
    else:
        if stated is not None:
            LOGGER.warning(
                "%s: PhaseEncodingDirection is %r, expected i, j or k with or without a minus; "
                "it is passed over.",
                name,
                stated,
            )
        return None
    LOGGER.warning(
        "%s states no PhaseEncodingDirection: %s is taken from %s. If that is wrong, so is the "
        "distortion correction; add the field to its JSON sidecar.",
        name,
        direction,
        found,
    )
    return direction


def _from_label(label: str | None, affine: Float[np.ndarray, "4 4"]) -> str | None:
    if label is None or label.upper() not in _LABELS:
        return None
    world_axis, sense = _LABELS[label.upper()]
    for axis, (found, flip) in enumerate(io_orientation(affine)):
        if found == world_axis:
            return _AXES[axis] + ("" if flip == sense else "-")
    return None


def _is_direction(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value in {"i", "j", "k", "i-", "j-", "k-"}


def _readout_s(metadata: Mapping[str, Any], n_phase: int, name: str) -> float | None:
    total = metadata.get("TotalReadoutTime")
    if _is_positive(total, _LONGEST_READOUT_S):
        return total
    if total is not None:
        LOGGER.warning(
            "%s: TotalReadoutTime is %r, expected seconds, less than %g; it is passed over.",
            name,
            total,
            _LONGEST_READOUT_S,
        )
    spacing = metadata.get("EffectiveEchoSpacing")
    if not _is_positive(spacing, _LONGEST_READOUT_S):
        return None
    n_recon = metadata.get("ReconMatrixPE")
    n_line = int(n_recon) if _is_positive(n_recon, _MOST_LINES) else n_phase
    # BIDS: between the centres of the first and last echo of the reconstructed matrix
    return spacing * (n_line - 1)


def _is_positive(value: object, limit: float) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < limit
