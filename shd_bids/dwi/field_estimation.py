"""The off-resonance field from images of opposite phase encoding.

The model is that of Andersson, Skare and Ashburner (NeuroImage 20, 2003), the optimisation near to
that of Ruthotto et al. (Phys. Med. Biol. 57, 2012): images that the same field displaced in
different directions must agree once it is undone. It is written here since what exists cannot be
a dependency: PyHySCO is GPL, topup is not redistributable.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float
from nibabel.affines import voxel_sizes
from scipy.ndimage import distance_transform_edt, gaussian_filter

from shd_bids.errors import TransformError

from .field_images import EncodedImages, Lattice
from .field_problem import FieldProblem, FieldState
from .transforms import PhaseEncoding, VolumeTransforms

LOGGER = logging.getLogger(__name__)

NOMINAL_READOUT_S = 0.05
_SIGNAL = 0.05  # of the bright tissue: below it lies background
_REACH_MM = 10.0  # around the signal
_STRETCH = 0.003  # mm⁻²: the penalty on slopes, over that on bending
_ENOUGH = 1e-3  # a smaller relative fall of the energy ends a level


@dataclass(frozen=True)
class _Level:
    """Distance of points and smoothing in mm; stiffness in mm²."""

    spacing_mm: float
    sigma_mm: float
    stiffness: float
    n_step: int
    motion: bool


_LEVELS = (
    _Level(7.0, 5.5, 10.0, 5, motion=False),  # of a blurred, round head rotation tells nothing
    _Level(7.0, 3.5, 1.0, 4, motion=True),
    _Level(3.5, 1.8, 0.3, 4, motion=True),
    _Level(1.75, 0.9, 0.2, 4, motion=True),
)


@dataclass(frozen=True, eq=False)
class FieldEstimate:
    """A field and where the heads of the images were.

    Attributes
    ----------
    fieldmap_hz
        Off-resonance on the corrected grid.
    transforms
        Of each image; the first has not moved. Movement along the phase axis cannot be told from
        a constant field, so an image not encoded as the first makes none.
    phase_encodings
        As given, or with a nominal readout time where none was known.
    readout_known
        If False the field is no measure of off-resonance: only its product with the nominal
        readout time, the displacement, means something.
    """

    fieldmap_hz: Float[np.ndarray, "x y z"]
    transforms: VolumeTransforms
    phase_encodings: tuple[PhaseEncoding, ...]
    readout_known: bool


def estimate_field(
    images: Float[np.ndarray, "image x y z"],
    affine: Float[np.ndarray, "4 4"],
    phase_encodings: Sequence[PhaseEncoding],
) -> FieldEstimate:
    """Find the field that explains how images of several phase encodings differ.

    Field, head positions and intensity scales are sought together, from coarse to fine. The
    position of the head in the first image is the corrected one.

    Parameters
    ----------
    images
        One mean b=0 image for each phase encoding, scanner units, 0 or more.
    affine
        Of their common grid.
    phase_encodings
        Along the axes of that grid; at least two are opposite.

    Returns
    -------
    FieldEstimate
        On the same grid.

    Raises
    ------
    TransformError
        If no two images have opposite phase encodings, or one shows nothing.
    """
    encodings, readout_known = check_encodings(images, phase_encodings)
    voxel_mm, (x, y, z) = voxel_sizes(affine), images.shape[1:]
    levels = images / _brightness(images[0])
    levels = levels.astype(np.float32)
    longest_s = max(encoding.readout_s for encoding in encodings)
    axes = tuple(encoding.axis for encoding in encodings)
    weights = tuple(encoding.sign * encoding.readout_s / longest_s for encoding in encodings)
    head = _near_signal(levels, voxel_mm)
    lattice = Lattice((x, y, z), (1, 1, 1))
    state = FieldState(
        np.zeros((x, y, z), np.float32),
        VolumeTransforms.identity(len(encodings)),
        levels[0].sum() / levels.sum(axis=(1, 2, 3)),
    )
    for level in _LEVELS:
        i, j, k = (max(1, round(level.spacing_mm / edge)) for edge in voxel_mm)
        coarser, lattice = lattice, Lattice((x, y, z), (i, j, k))
        state = replace(state, displacement=lattice.adopt(state.displacement, coarser))
        smooth = EncodedImages.smooth(levels, axes, weights, affine, level.sigma_mm / voxel_mm)
        freedoms = tuple(_freedom(one, encodings[0], affine) for one in encodings)
        problem = FieldProblem(
            smooth,
            lattice,
            _seen_by_all(smooth, lattice, lattice.nearest(head), state),
            level.stiffness * _bending(lattice, voxel_mm) * np.float32(voxel_mm[axes[0]] ** 2),
            freedoms if level.motion else (np.zeros((6, 0)),) * len(encodings),
        )
        state = _minimise(problem, state, level.n_step)
    fieldmap_hz = state.displacement / np.float32(longest_s)
    return FieldEstimate(fieldmap_hz, state.transforms, encodings, readout_known)


def _minimise(problem: FieldProblem, state: FieldState, n_step: int) -> FieldState:
    energy = problem.energy(state)
    for _ in range(n_step):
        before = energy
        state, energy = problem.improve(state, before)
        LOGGER.debug("Stride %s: energy %.4g to %.4g.", problem.lattice.stride, before, energy)
        if before - energy < _ENOUGH * before:
            break
    return state


def check_encodings(
    images: Float[np.ndarray, "image x y z"], phase_encodings: Sequence[PhaseEncoding]
) -> tuple[tuple[PhaseEncoding, ...], bool]:
    """Refuse images that no field can be found from, and settle their readout times.

    Parameters
    ----------
    images
        One for each phase encoding.
    phase_encodings
        Readout time 0 where it is not known.

    Returns
    -------
    tuple
        The encodings, all with a nominal readout time if one was not known, and whether all were.

    Raises
    ------
    TransformError
        If no two images have opposite phase encodings, or one shows nothing.
    """
    pairs = combinations(phase_encodings, 2)
    if not any(one.axis == other.axis and one.sign != other.sign for one, other in pairs):
        found = ", ".join(
            f"{'ijk'[one.axis]}{'' if one.sign > 0 else '-'}" for one in phase_encodings
        )
        raise TransformError(
            f"The b=0 images are encoded along {found}; expected two that are opposite, such as j "
            "and j-. Check PhaseEncodingDirection in their sidecars, or use --sdc none."
        )
    for number, image in enumerate(images, start=1):
        if not image.max() > 0:
            raise TransformError(
                f"Image {number} of the b=0 images of several phase encodings shows nothing. "
                "Check that it overlaps with the diffusion series, or use --sdc none."
            )
    known = all(encoding.readout_s > 0 for encoding in phase_encodings)
    if known:
        return tuple(phase_encodings), True
    LOGGER.warning(
        "TotalReadoutTime is not known for all b=0 images: the same for all is assumed. The "
        "displacement does not depend on it, but the field has no unit."
    )
    return tuple(replace(one, readout_s=NOMINAL_READOUT_S) for one in phase_encodings), False


def _brightness(image: Float[np.ndarray, "x y z"]) -> float:
    """Give the level of bright tissue."""
    return float(np.percentile(image[image > 0.1 * np.percentile(image, 99)], 90))


def _near_signal(
    levels: Float[np.ndarray, "image x y z"], voxel_mm: Float[np.ndarray, "3"]
) -> Bool[np.ndarray, "x y z"]:
    shown = np.zeros(levels.shape[1:], dtype=bool)
    for image in levels:
        shown |= gaussian_filter(image, 2 * voxel_mm.min() / voxel_mm) > _SIGNAL
    return distance_transform_edt(~shown, sampling=voxel_mm) <= _REACH_MM


def _seen_by_all(
    images: EncodedImages, lattice: Lattice, near: Bool[np.ndarray, "i j k"], state: FieldState
) -> Bool[np.ndarray, "i j k"]:
    """Leave out the points that lie outside the field of view of an image."""
    points, inside = lattice.points(near), state.displacement[near]
    edge = np.array(images.shape)[:, None] - 0.5
    seen = near.copy()
    for image in range(len(images.axes)):
        at = images.locate(image, state.transforms, points, inside)
        seen[near] &= ((at >= -0.5) & (at <= edge)).all(axis=0)
    return seen


def _bending(lattice: Lattice, voxel_mm: Float[np.ndarray, "3"]) -> Float[np.ndarray, "i j k"]:
    """Give the penalty on bending, and a little on slopes, of each cosine, mm⁻⁴."""
    parts = [
        (2 * np.sin(np.pi * np.arange(count) / (2 * count)) / (stride * edge)) ** 2
        for count, stride, edge in zip(lattice.counts, lattice.stride, voxel_mm, strict=True)
    ]
    i, j, k = np.ix_(*parts)
    return ((i + j + k) ** 2 + _STRETCH * (i + j + k)).astype(np.float32)


def _freedom(
    encoding: PhaseEncoding, first: PhaseEncoding, affine: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "6 _"]:
    """Give the translations and rotations of an image that its displacement leaves visible."""
    if encoding is first:
        return np.zeros((6, 0))
    if (encoding.axis, encoding.sign) == (first.axis, first.sign):
        return np.eye(6)
    across = np.linalg.svd(affine[:3, encoding.axis][None])[2][1:].T  # (3, 2), unit vectors
    freedom = np.zeros((6, 5))
    freedom[:3, :2], freedom[3:, 2:] = across, np.eye(3)
    return freedom
