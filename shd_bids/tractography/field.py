"""The field of fODFs that streamlines run through, laid out for DIPY.

DIPY steps in voxel indices: a direction d of its sphere moves a streamline by ``step * d`` divided
by the voxel sizes, and the affine takes the result to the world. Its sphere therefore lies along
the axes of the image, not of the world. Each direction of the sphere is turned (for a left-handed
affine: mirrored) into the world before the fODF is evaluated there.

Amplitudes are tabulated once for every white matter voxel, about 3 kB each: a step is then several
times as fast as one from the spherical harmonics, and lands in the same place.
"""

import mmap
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from shd_bids.errors import TrackingError
from shd_bids.sphere.harmonics import degree_of_count, sh_basis

from .directions import tracking_sphere


@dataclass(frozen=True)
class FodfField:
    """A box around the white matter.

    Attributes
    ----------
    amplitudes
        fODF along each direction of the tracking sphere, taken in the axes of the image; zero
        where there is no white matter.
    white_matter
        How much there is to follow, 0 to 1.
    fluid
        CSF fraction, or None when it cannot be told from grey matter.
    affine
        Voxel indices of the box to RAS world mm.
    """

    amplitudes: Float[np.ndarray, "x y z direction"]
    white_matter: Float[np.ndarray, "x y z"]
    fluid: Float[np.ndarray, "x y z"] | None
    affine: Float[np.ndarray, "4 4"]

    def to_vox(self, points: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, "point 3"]:
        """Take points from RAS world mm to voxel indices of the box."""
        world_to_vox = np.linalg.inv(self.affine)
        return points @ world_to_vox[:3, :3].T + world_to_vox[:3, 3]


def tabulate_fodf(
    fodf_sh: Float[np.ndarray, "x y z coef"],
    affine: Float[np.ndarray, "4 4"],
    white_matter: Float[np.ndarray, "x y z"],
    fluid: Float[np.ndarray, "x y z"] | None,
) -> FodfField:
    """Cut out the white matter, one voxel wider, and evaluate its fODFs along the image's axes.

    Parameters
    ----------
    fodf_sh
        SH coefficients, MRtrix3 basis, RAS world axes.
    affine
        Voxel indices to RAS world mm.
    white_matter
        0 to 1, somewhere more than 0.
    fluid
        CSF fraction, if it is known.

    Returns
    -------
    field
        Takes up about 3 kB for every voxel with white matter.
    """
    occupied = np.argwhere(white_matter > 0)
    low = np.maximum(occupied.min(axis=0) - 1, 0)
    high = np.minimum(occupied.max(axis=0) + 2, white_matter.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    shifted = affine.astype(float)
    shifted[:3, 3] += affine[:3, :3] @ low
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    directions_ras = tracking_sphere() @ axes.T
    basis = sh_basis(directions_ras, degree_of_count(fodf_sh.shape[-1])).astype(np.float32)
    amplitudes = _untouched((*(high - low).tolist(), len(directions_ras)))
    planes = zip(amplitudes, fodf_sh[box], white_matter[box] > 0, strict=True)
    for plane, coefficients, inside in planes:
        plane[inside] = np.nan_to_num(coefficients[inside].astype(np.float32)) @ basis.T
    return FodfField(
        amplitudes=amplitudes,
        white_matter=white_matter[box].astype(float),
        fluid=None if fluid is None else fluid[box],
        affine=shifted,
    )


def _untouched(shape: tuple[int, ...]) -> Float[np.ndarray, "x y z direction"]:
    """Return float64 zeros that take up memory only where they are written, page by page."""
    n_byte = 8 * int(np.prod(shape))
    try:
        memory = mmap.mmap(-1, n_byte, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise TrackingError(
            f"Tracking needs address space for {n_byte / 1e9:.1f} GB and the system refused it; "
            "of that only the white matter, about 3 kB a voxel, takes up memory. Raise the limit "
            "on virtual memory or use --skip-tractography."
        ) from error
    return np.frombuffer(memory, dtype=np.float64).reshape(shape)


def draw_directions(
    field: FodfField,
    seeds: Float[np.ndarray, "seed 3"],
    relative_threshold: float,
    generator: np.random.Generator,
) -> Float[np.ndarray, "seed 3"]:
    """Draw a first direction for each seed, as likely as its amplitude is large.

    Parameters
    ----------
    field
        Where the seeds lie.
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
    nearest = np.rint(field.to_vox(seeds)).astype(int)
    nearest = np.clip(nearest, 0, np.array(field.white_matter.shape) - 1)
    amplitudes = field.amplitudes[tuple(nearest.T)]
    floor = relative_threshold * amplitudes.max(axis=1, keepdims=True)
    amplitudes[amplitudes < np.maximum(floor, 0.0)] = 0.0
    cumulative = np.cumsum(amplitudes, axis=1)
    chance = generator.uniform(size=(len(seeds), 1)) * cumulative[:, -1:]
    return tracking_sphere()[np.argmax(cumulative > chance, axis=1)]
