"""HEALPix grids folded to a hemisphere, for signals that are equal at antipodes.

HEALPix in NESTED order (Gorski et al. 2005, https://doi.org/10.1086/427976): pixel ``p`` at one
resolution has the children ``4p ... 4p+3`` at the next. Every grid is antipodally symmetric, so
one pixel of each antipodal pair carries the whole signal (Elaldi et al. 2024, arXiv 2411.11819).
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import astropy_healpix
import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

_EQUATOR = 1e-9  # pixel centres are exact to about 1e-15


def sphere_vertices(n_side: int) -> Float[np.ndarray, "pixel 3"]:
    """Give the unit vectors to the centres of all ``12 n_side^2`` pixels, NESTED order."""
    pixels = np.arange(12 * n_side**2)
    longitude, latitude = astropy_healpix.healpix_to_lonlat(pixels, n_side, order="nested")
    longitude, latitude = np.asarray(longitude.value), np.asarray(latitude.value)
    return np.stack(
        [
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
        ],
        axis=-1,
    )


@dataclass(frozen=True)
class Hemisphere:
    """One pixel of every antipodal pair of a HEALPix grid.

    Attributes
    ----------
    n_side
        HEALPix resolution, a power of two; there are ``6 n_side^2`` vertices.
    """

    n_side: int

    @cached_property
    def sphere(self) -> Float[np.ndarray, "pixel 3"]:
        """Unit vectors of the full grid."""
        return sphere_vertices(self.n_side)

    @cached_property
    def antipodes(self) -> Int[np.ndarray, " pixel"]:
        """The pixel opposite to each pixel."""
        distance, index = cKDTree(self.sphere).query(-self.sphere)
        if distance.max() > 1e-7:
            raise ValueError(f"The HEALPix grid with n_side {self.n_side} has no antipodes.")
        return index

    @cached_property
    def pixels(self) -> Int[np.ndarray, " vertex"]:
        """The pixels kept: z > 0; on the equator y > 0, then x > 0."""
        x, y, z = self.sphere.T
        on_equator = np.abs(z) <= _EQUATOR
        on_axis = on_equator & (np.abs(y) <= _EQUATOR)
        keep = (z > _EQUATOR) | (on_equator & (y > _EQUATOR)) | (on_axis & (x > 0))
        return np.flatnonzero(keep)

    @cached_property
    def vertices(self) -> Float[np.ndarray, "vertex 3"]:
        """Unit vectors of the pixels kept."""
        return self.sphere[self.pixels]

    @cached_property
    def fold(self) -> Int[np.ndarray, " pixel"]:
        """For every pixel of the full grid, the vertex that carries its value."""
        vertex = np.full(len(self.sphere), -1)
        vertex[self.pixels] = np.arange(len(self.pixels))
        return np.where(vertex >= 0, vertex, vertex[self.antipodes])

    @cached_property
    def children(self) -> Int[np.ndarray, "vertex 4"]:
        """The four vertices of the next finer hemisphere inside each vertex."""
        finer = hemisphere(2 * self.n_side)
        return finer.fold[4 * self.pixels[:, None] + np.arange(4)]

    @cached_property
    def parents(self) -> Int[np.ndarray, " vertex"]:
        """The vertex of the next coarser hemisphere around each vertex."""
        return hemisphere(self.n_side // 2).fold[self.pixels // 4]


@dataclass(frozen=True)
class FullSphere:
    """All pixels of a HEALPix grid: what ``Hemisphere`` is to a half, for the whole.

    Attributes
    ----------
    n_side
        HEALPix resolution, a power of two; there are ``12 n_side^2`` vertices.
    """

    n_side: int

    @cached_property
    def vertices(self) -> Float[np.ndarray, "vertex 3"]:
        """Unit vectors of all pixels."""
        return sphere_vertices(self.n_side)

    @cached_property
    def children(self) -> Int[np.ndarray, "vertex 4"]:
        """The four pixels of the next finer grid inside each pixel."""
        return np.arange(48 * self.n_side**2).reshape(-1, 4)

    @cached_property
    def parents(self) -> Int[np.ndarray, " vertex"]:
        """The pixel of the next coarser grid around each pixel."""
        return np.arange(12 * self.n_side**2) // 4


@lru_cache(maxsize=16)
def hemisphere(n_side: int) -> Hemisphere:
    """Give the hemisphere of a resolution; the same object every time.

    Raises
    ------
    ValueError
        If ``n_side`` is not a power of two.

    Examples
    --------
    >>> len(hemisphere(8).vertices)
    384
    """
    _check_resolution(n_side)
    return Hemisphere(n_side)


@lru_cache(maxsize=16)
def full_sphere(n_side: int) -> FullSphere:
    """Give the full sphere of a resolution; the same object every time.

    Raises
    ------
    ValueError
        If ``n_side`` is not a power of two.

    Examples
    --------
    >>> len(full_sphere(8).vertices)
    768
    """
    _check_resolution(n_side)
    return FullSphere(n_side)


def _check_resolution(n_side: int) -> None:
    if n_side < 1 or n_side & (n_side - 1):
        raise ValueError(f"n_side must be a power of two, got {n_side}.")
