"""Scoring what a correction found against the phantom's artefacts.

The corrected head's position is that of one volume of the correction's choice: positions and
directions are compared after `VolumeTransforms.relative_to` that volume.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.transforms import VolumeTransforms, rotate_gradients


@dataclass(frozen=True, eq=False)
class MotionError:
    """How far each volume's head position is from the true one; 0 for the reference."""

    translation_mm: Float[np.ndarray, " volume"]  # at the brain's centre
    rotation_deg: Float[np.ndarray, " volume"]  # angle of the rotation that is left
    displacement_mm: Float[np.ndarray, " volume"]  # mean over the brain


@dataclass(frozen=True)
class DropoutScore:
    """How well the slices that dropped out were found; NaN where there is none to count."""

    recall: float
    precision: float
    n_true: int
    n_found: int


def score_motion(
    estimated: VolumeTransforms,
    true: VolumeTransforms,
    affine: Float[np.ndarray, "4 4"],
    mask: Bool[np.ndarray, "x y z"],
    *,
    reference: int = 0,
) -> MotionError:
    """Compare the head's positions; eddy currents are left out.

    Parameters
    ----------
    estimated, true
        Of the same volumes, about the centre of the grid.
    affine
        Of the grid, voxel to RAS mm.
    mask
        Brain of the corrected head.
    reference
        Volume that the correction takes for the corrected head.
    """
    estimated, true = (some.relative_to(reference) for some in (estimated, true))
    offsets = (np.argwhere(mask) - (np.array(mask.shape) - 1) / 2) @ affine[:3, :3].T
    turn_error = estimated.rotations() - true.rotations()
    shift_error = estimated.translation_mm - true.translation_mm
    centre_error = turn_error @ offsets.mean(axis=0) + shift_error
    displacement = [
        np.linalg.norm(offsets @ turn.T + shift, axis=1).mean()
        for turn, shift in zip(turn_error, shift_error, strict=True)
    ]
    return MotionError(
        np.linalg.norm(centre_error, axis=1),
        _rotation_angle_deg(estimated.rotations(), true.rotations()),
        np.array(displacement),
    )


def score_gradients(
    corrected: GradientTable,
    applied: GradientTable,
    true: VolumeTransforms,
    *,
    reference: int = 0,
) -> Float[np.ndarray, " weighted"]:
    """Give the angle in degrees between corrected and true axes, for each that has a direction.

    Parameters
    ----------
    corrected
        That the correction delivers.
    applied
        By the scanner.
    true
        Positions of the head.
    reference
        Volume that the correction takes for the corrected head.
    """
    seen = rotate_gradients(applied, true.relative_to(reference)).bvecs_ras
    weighted = np.linalg.norm(seen, axis=1) > 0
    pairs = corrected.bvecs_ras[weighted], seen[weighted]
    sine = np.linalg.norm(np.cross(*pairs), axis=1)
    return np.degrees(np.arctan2(sine, np.abs(np.sum(pairs[0] * pairs[1], axis=1))))


def score_field(
    estimated_hz: Float[np.ndarray, "x y z"],
    true_hz: Float[np.ndarray, "x y z"],
    mask: Bool[np.ndarray, "x y z"],
) -> float:
    """Give the distortion that is left over that of the uncorrected image, both rms in the mask.

    Displacement goes as the field, so that either may be given.
    """
    return _rms((estimated_hz - true_hz)[mask]) / _rms(true_hz[mask])


def score_dropout(
    found: Bool[np.ndarray, "volume z"], kept_signal: Float[np.ndarray, "volume z"]
) -> DropoutScore:
    """Compare the slices found with those that lost signal."""
    true = kept_signal < 1
    n_hit, n_true, n_found = (int(some.sum()) for some in (found & true, true, found))
    return DropoutScore(_share(n_hit, n_true), _share(n_hit, n_found), n_true, n_found)


def score_bias(
    estimated: Float[np.ndarray, "x y z"],
    true: Float[np.ndarray, "x y z"],
    mask: Bool[np.ndarray, "x y z"],
) -> float:
    """Give the shading that is left: coefficient of variation of estimated over true bias."""
    ratio = estimated[mask] / true[mask]
    return float(ratio.std() / ratio.mean())


def score_signal(
    corrected: Float[np.ndarray, "x y z *volume"],
    noiseless: Float[np.ndarray, "x y z *volume"],
    mask: Bool[np.ndarray, "x y z"],
) -> float:
    """Give the rms difference in scanner units, after the scale that makes it least.

    A bias correction may change the scale of all volumes; noise and what else is left count.
    """
    image, target = corrected[mask].astype(np.float64), noiseless[mask].astype(np.float64)
    return _rms(image * (np.vdot(image, target) / np.vdot(image, image)) - target)


def _rotation_angle_deg(
    estimated: Float[np.ndarray, "volume 3 3"], true: Float[np.ndarray, "volume 3 3"]
) -> Float[np.ndarray, " volume"]:
    # from the chord: the trace of the relative rotation loses small angles to rounding
    chord = np.linalg.norm(estimated - true, axis=(1, 2)) / np.sqrt(8)
    return np.degrees(2 * np.arcsin(chord.clip(0, 1)))


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
