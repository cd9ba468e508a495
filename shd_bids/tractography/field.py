"""The field of fODFs that streamlines run through, laid out for DIPY.

DIPY steps in voxel indices: a direction d of its sphere moves a streamline by ``step * d`` divided
by the voxel sizes, and the affine takes the result to the world. Its directions therefore lie along
the axes of the image, not of the world: each is turned, for a left-handed affine mirrored.

Probabilistic trackers draw from the directions of a sphere, by the square of the amplitude along
each: an fODF is as wide as its harmonics make it, even where all fibres are parallel, and drawn as
it is that width sends streamlines out of their bundle's side. Squares are tabulated once for every
voxel that is followed, about 3 kB each: a step is then several times as fast as one from the
spherical harmonics, and lands in the same place. The deterministic tracker
follows the exact peaks, interpolated between voxels, because the largest of a sphere's directions
would be off by up to 4 degrees at every step, and always to the same side.
"""

import mmap
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from nibabel.affines import apply_affine

from shd_bids.errors import TrackingError
from shd_bids.sphere.harmonics import degree_of_count, sh_basis

from .directions import tracking_sphere
from .peaks import find_peaks
from .stopping import Anatomy

_N_PEAK = 5  # DIPY looks at no more


@dataclass(frozen=True)
class FodfField(ABC):
    """A box around the fODFs that are followed.

    Attributes
    ----------
    anatomy
        Tissues of the box.
    affine
        Voxel indices of the box to RAS world mm.
    """

    anatomy: Anatomy
    affine: Float[np.ndarray, "4 4"]

    def to_vox(self, points: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, "point 3"]:
        """Take points from RAS world mm to voxel indices of the box."""
        return apply_affine(np.linalg.inv(self.affine), points)

    def nearest(self, points: Float[np.ndarray, "point 3"]) -> tuple[np.ndarray, ...]:
        """Give the index of the voxel that each point in RAS world mm is nearest to."""
        voxels = np.rint(self.to_vox(points)).astype(int)
        return tuple(np.clip(voxels, 0, np.array(self.anatomy.mask.shape) - 1).T)

    @abstractmethod
    def draw_directions(
        self,
        seeds: Float[np.ndarray, "seed 3"],
        relative_threshold: float,
        generator: np.random.Generator,
    ) -> Float[np.ndarray, "seed 3"]:
        """Draw a first direction for each seed, as likely as its amplitude is large.

        Parameters
        ----------
        seeds
            RAS world mm; outside the box the nearest voxel counts.
        relative_threshold
            Directions with less than this fraction of the largest amplitude are not drawn.
        generator
            Source of chance.

        Returns
        -------
        directions
            Unit vectors in the axes of the image; any where there is no fODF.
        """


@dataclass(frozen=True)
class AmplitudeField(FodfField):
    """fODFs as squared amplitudes along the directions of `tracking_sphere`.

    Attributes
    ----------
    squares
        Zero where the amplitude is negative or not followed.
    """

    squares: Float[np.ndarray, "x y z direction"]

    def draw_directions(
        self,
        seeds: Float[np.ndarray, "seed 3"],
        relative_threshold: float,
        generator: np.random.Generator,
    ) -> Float[np.ndarray, "seed 3"]:
        """Draw among the directions of the sphere."""
        drawn = _draw(self.squares[self.nearest(seeds)], relative_threshold**2, generator)
        return tracking_sphere()[drawn]


@dataclass(frozen=True)
class PeakField(FodfField):
    """fODFs as their peaks, by the names that DIPY reads them by.

    Attributes
    ----------
    peak_values
        Amplitude of each peak, the largest first; zero where there is none.
    peak_indices
        Where in `odf_vertices` its direction stands.
    odf_vertices
        Unit vectors in the axes of the image.
    """

    peak_values: Float[np.ndarray, "x y z peak"]
    peak_indices: Int[np.ndarray, "x y z peak"]
    odf_vertices: Float[np.ndarray, "vertex 3"]

    def draw_directions(
        self,
        seeds: Float[np.ndarray, "seed 3"],
        relative_threshold: float,
        generator: np.random.Generator,
    ) -> Float[np.ndarray, "seed 3"]:
        """Draw among the peaks."""
        nearest = self.nearest(seeds)
        drawn = _draw(self.peak_values[nearest], relative_threshold, generator)
        return self.odf_vertices[self.peak_indices[nearest][np.arange(len(seeds)), drawn]]


def _draw(
    amplitudes: Float[np.ndarray, "seed choice"],
    relative_threshold: float,
    generator: np.random.Generator,
) -> Int[np.ndarray, " seed"]:
    floor = relative_threshold * amplitudes.max(axis=1, keepdims=True)
    likely = np.where(amplitudes < np.maximum(floor, 0.0), 0.0, amplitudes)
    cumulative = np.cumsum(likely, axis=1)
    chance = generator.uniform(size=(len(amplitudes), 1)) * cumulative[:, -1:]
    return np.argmax(cumulative > chance, axis=1)


def tabulate_fodf(
    fodf_sh: Float[np.ndarray, "x y z coef"], affine: Float[np.ndarray, "4 4"], anatomy: Anatomy
) -> AmplitudeField:
    """Cut out what is followed, one voxel wider, and evaluate its fODFs along the image's axes.

    Parameters
    ----------
    fodf_sh
        SH coefficients, MRtrix3 basis, RAS world axes.
    affine
        Voxel indices to RAS world mm.
    anatomy
        Of the same grid; fODFs are followed somewhere.

    Returns
    -------
    field
        Takes up about 3 kB for every voxel that is followed.
    """
    box, shifted = _box(anatomy, affine)
    inside = anatomy.followed[box]
    directions_ras = tracking_sphere() @ _axes(affine).T
    basis = sh_basis(directions_ras, degree_of_count(fodf_sh.shape[-1])).astype(np.float32)
    squares = _untouched((*inside.shape, len(directions_ras)))
    for plane, coefficients, here in zip(squares, fodf_sh[box], inside, strict=True):
        amplitudes = np.nan_to_num(coefficients[here].astype(np.float32)) @ basis.T
        plane[here] = np.maximum(amplitudes, 0.0) ** 2
    return AmplitudeField(anatomy.within(box), shifted, squares)


def list_peaks(
    fodf_sh: Float[np.ndarray, "x y z coef"],
    affine: Float[np.ndarray, "4 4"],
    anatomy: Anatomy,
    *,
    relative_threshold: float,
) -> PeakField:
    """Cut out what is followed, one voxel wider, and find its peaks.

    Parameters
    ----------
    fodf_sh
        SH coefficients, MRtrix3 basis, RAS world axes.
    affine
        Voxel indices to RAS world mm.
    anatomy
        Of the same grid; fODFs are followed somewhere.
    relative_threshold
        Peaks below this fraction of the voxel's largest are dropped.

    Returns
    -------
    field
        Takes up less than 100 bytes for every voxel of the box.
    """
    box, shifted = _box(anatomy, affine)
    peaks = find_peaks(
        fodf_sh[box],
        anatomy.followed[box],
        n_peak=_N_PEAK,
        relative_threshold=relative_threshold,
    )
    there = peaks.amplitudes > 0
    vertices = peaks.directions[there].astype(float) @ np.linalg.inv(_axes(affine)).T
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    index = np.zeros(there.shape, dtype=np.int32)
    index[there] = np.arange(len(vertices))
    if not len(vertices):
        raise TrackingError(
            "No fODF inside the mask has a peak, so there is nothing to follow. Check the mask and "
            "the response functions."
        )
    return PeakField(anatomy.within(box), shifted, peaks.amplitudes.astype(float), index, vertices)


def _box(
    anatomy: Anatomy, affine: Float[np.ndarray, "4 4"]
) -> tuple[tuple[slice, slice, slice], Float[np.ndarray, "4 4"]]:
    """Give the slices of what is followed, one voxel wider, and their affine."""
    occupied = np.argwhere(anatomy.followed)
    low = np.maximum(occupied.min(axis=0) - 1, 0)
    high = np.minimum(occupied.max(axis=0) + 2, anatomy.followed.shape)
    shifted = affine.astype(float)
    shifted[:3, 3] += affine[:3, :3] @ low
    return (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])), shifted


def _axes(affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "3 3"]:
    """Give the directions of the image's axes in the world, a column each."""
    return affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)


def _untouched(shape: tuple[int, ...]) -> Float[np.ndarray, "x y z direction"]:
    """Return float64 zeros that take up memory only where they are written, page by page."""
    n_byte = 8 * int(np.prod(shape))
    try:
        memory = mmap.mmap(-1, n_byte, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise TrackingError(
            f"Tracking needs address space for {n_byte / 1e9:.1f} GB and the system refused it; "
            "of that only the brain, about 3 kB a voxel, takes up memory. Raise the limit "
            "on virtual memory or use --skip-tractography."
        ) from error
    return np.frombuffer(memory, dtype=np.float64).reshape(shape)
