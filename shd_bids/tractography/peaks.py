"""Peaks of an fODF: the fibre directions in each voxel."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from shd_bids.sphere.harmonics import degree_of_count, sh_basis

from .directions import search_sphere
from .polynomials import refine_peaks

_N_VOXEL_CHUNK = 2048
_MIN_CURVATURE = 0.5  # per square radian, relative to the amplitude: flatter tops have no direction


@dataclass(frozen=True)
class Peaks:
    """Fibre directions of every voxel, the largest first.

    Attributes
    ----------
    directions
        Unit vectors in RAS world axes; zero where there is no peak.
    amplitudes
        fODF amplitude there; zero where there is no peak.
    """

    directions: Float[np.ndarray, "x y z peak 3"]
    amplitudes: Float[np.ndarray, "x y z peak"]

    @property
    def count(self) -> Int[np.ndarray, "x y z"]:
        """Number of peaks in each voxel."""
        return np.count_nonzero(self.amplitudes, axis=-1)


def find_peaks(
    fodf_sh: Float[np.ndarray, "x y z coef"],
    mask: Bool[np.ndarray, "x y z"],
    *,
    n_peak: int = 5,
    relative_threshold: float = 0.2,
    absolute_threshold: float = 0.1,
    min_separation_deg: float = 25.0,
) -> Peaks:
    """Find the local maxima of each fODF.

    A dense half sphere is searched for vertices above all their neighbours, and Newton's method
    moves each to the exact maximum of the spherical-harmonic series.

    Parameters
    ----------
    fodf_sh
        SH coefficients, MRtrix3 basis, RAS world axes.
    mask
        Voxels to look at.
    n_peak
        Largest number of peaks kept in a voxel.
    relative_threshold
        Peaks below this fraction of the voxel's largest are dropped, 0 to 1.
    absolute_threshold
        Peaks below this amplitude are dropped. A voxel holding one sharp fibre reaches about 3 at
        degree 8, an isotropic fODF of the same integral 0.08.
    min_separation_deg
        Of two peaks closer than this the smaller is dropped.

    Returns
    -------
    peaks
        Directions and amplitudes, float32, sorted by amplitude.
    """
    lmax = degree_of_count(fodf_sh.shape[-1])
    directions = np.zeros((*mask.shape, n_peak, 3), dtype=np.float32)
    amplitudes = np.zeros((*mask.shape, n_peak), dtype=np.float32)
    if lmax == 0:
        return Peaks(directions, amplitudes)
    vertices, neighbours = search_sphere()
    basis = sh_basis(vertices, lmax).astype(np.float32)
    voxels = np.argwhere(mask)
    for start in range(0, len(voxels), _N_VOXEL_CHUNK):
        index = tuple(voxels[start : start + _N_VOXEL_CHUNK].T)
        coefficients = np.nan_to_num(fodf_sh[index].astype(np.float32))
        voxel, vertex = _local_maxima(
            basis @ coefficients.T, neighbours, relative_threshold, absolute_threshold
        )
        if not len(voxel):
            continue
        found, height, curvature = refine_peaks(coefficients[voxel], vertices[vertex])
        height[(curvature > -_MIN_CURVATURE * height) | (height < absolute_threshold)] = 0.0
        directions[index], amplitudes[index] = _select(
            voxel,
            found,
            height,
            n_voxel=len(coefficients),
            n_peak=n_peak,
            relative_threshold=relative_threshold,
            min_separation_deg=min_separation_deg,
        )
    return Peaks(directions, amplitudes)


def _local_maxima(
    amplitudes: Float[np.ndarray, "vertex voxel"],
    neighbours: Int[np.ndarray, "vertex neighbour"],
    relative_threshold: float,
    absolute_threshold: float,
) -> tuple[Int[np.ndarray, " candidate"], Int[np.ndarray, " candidate"]]:
    """Return voxel and vertex of the vertices above all neighbours, sorted by voxel.

    Thresholds are halved here: the maximum lies above its nearest vertex.
    """
    floor = np.maximum(relative_threshold * amplitudes.max(axis=0), absolute_threshold) / 2
    is_peak = amplitudes > np.maximum(floor, 0.0)
    vertex = np.arange(len(neighbours))
    for near in neighbours.T:
        other = amplitudes[near]
        # Of equal neighbours the first wins, so that a top between two vertices is found once.
        first = (vertex <= near)[:, None]
        is_peak &= np.where(first, amplitudes >= other, amplitudes > other)
    voxel, peak_vertex = np.nonzero(is_peak.T)
    return voxel, peak_vertex


def _select(
    voxel: Int[np.ndarray, " candidate"],
    directions: Float[np.ndarray, "candidate 3"],
    amplitudes: Float[np.ndarray, " candidate"],
    *,
    n_voxel: int,
    n_peak: int,
    relative_threshold: float,
    min_separation_deg: float,
) -> tuple[Float[np.ndarray, "voxel peak 3"], Float[np.ndarray, "voxel peak"]]:
    """Keep the largest peaks of each voxel that are high enough and far enough apart."""
    order = np.lexsort((-amplitudes, voxel))
    voxel, directions, amplitudes = voxel[order], directions[order], amplitudes[order]
    first = np.searchsorted(voxel, np.arange(n_voxel))
    rank = np.arange(len(voxel)) - first[voxel]
    n_rank = max(int(rank.max()) + 1, n_peak)
    height = np.zeros((n_voxel, n_rank))
    height[voxel, rank] = amplitudes
    axis = np.zeros((n_voxel, n_rank, 3))
    axis[voxel, rank] = directions
    height[height < relative_threshold * height[:, :1]] = 0.0
    too_near = np.cos(np.radians(max(min_separation_deg, 1.0)))  # nearer ones are one peak
    for k in range(1, n_rank):
        cosine = np.abs(np.einsum("vki,vi->vk", axis[:, :k], axis[:, k]))
        near = np.any((cosine > too_near) & (height[:, :k] > 0), axis=1)
        height[near, k] = 0.0
    kept = np.argsort(-height, axis=1, kind="stable")[:, :n_peak]
    height = np.take_along_axis(height, kept, axis=1)
    axis = np.take_along_axis(axis, kept[:, :, None], axis=1)
    return axis * (height > 0)[:, :, None], height


def peaks_to_image(peaks: Peaks) -> Float[np.ndarray, "x y z component"]:
    """Lay the peaks out as MRtrix3 `sh2peaks` does.

    Parameters
    ----------
    peaks
        Directions and amplitudes.

    Returns
    -------
    image
        x, y, z of the first peak, then of the second, and so on, in RAS world axes, each vector as
        long as its amplitude; NaN where there is no peak.
    """
    vectors = peaks.directions * peaks.amplitudes[..., None]
    vectors[peaks.amplitudes == 0] = np.nan
    return vectors.reshape(*vectors.shape[:3], -1).astype(np.float32)


def peaks_from_image(image: Float[np.ndarray, "x y z component"]) -> Peaks:
    """Read the layout of `peaks_to_image` back, zeros or NaN standing for no peak."""
    vectors = np.nan_to_num(image).reshape(*image.shape[:3], -1, 3).astype(np.float32)
    amplitudes = np.linalg.norm(vectors, axis=-1)
    directions = np.divide(
        vectors, amplitudes[..., None], out=np.zeros_like(vectors), where=amplitudes[..., None] > 0
    )
    return Peaks(directions, amplitudes)
