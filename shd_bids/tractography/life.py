"""Weights of streamlines from the diffusion signal itself: Linear Fascicle Evaluation (LiFE).

Every voxel that streamlines run through shows the signal of its points, each a stick along the
streamline's direction there, times the streamline's weight; weights are not negative and fit the
measured signal in the sense of least squares [Pestilli et al. 2014]. Signals are divided by b=0
and freed of their mean over the directions, so that what is isotropic drops out. For that there
must be one shell: the mean over several still depends on b.

DIPY's `dipy.tracking.life` keeps the whole matrix, voxels times directions by streamlines: 100 to
200 kB for each streamline. Here the matrix is kept as two factors, as Caiafa and Pestilli (2017)
do: how many points each streamline has in each (voxel, direction) cell, and the signal of each
direction, about 1 kB for each streamline. Directions are taken in the world, so that voxels need
not be cubes.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from nibabel.affines import apply_affine
from scipy.optimize import Bounds, minimize
from scipy.sparse import csr_array, vstack
from scipy.spatial import KDTree

from shd_bids.errors import TrackingError

from .directions import tracking_sphere
from .streamlines import Streamlines

LOGGER = logging.getLogger(__name__)

_STICK = 0.001  # axial diffusivity of the fascicle, mm2/s, as Pestilli et al. have it
_MAX_ITERATION = 100
_BYTES_PER_CELL = 8


@dataclass(frozen=True, eq=False)
class LifeProblem:
    """The factors of LiFE's matrix, and the signal that they are to explain.

    Attributes
    ----------
    points
        Points of each streamline in each cell; a cell is a voxel times a direction.
    sticks
        Demeaned signal over b=0 of a stick along each direction.
    signal
        Demeaned measured signal over b=0 of each voxel.
    """

    points: csr_array
    sticks: Float[np.ndarray, "direction volume"]
    signal: Float[np.ndarray, "voxel volume"]

    def predict(self, weights: Float[np.ndarray, " streamline"]) -> np.ndarray:
        """Give the signal of each voxel, (voxel, volume), that weights would explain."""
        cells = self.points.T @ weights.astype(np.float32)
        return cells.reshape(len(self.signal), len(self.sticks)) @ self.sticks

    def cost(
        self, weights: Float[np.ndarray, " streamline"]
    ) -> tuple[float, Float[np.ndarray, " streamline"]]:
        """Give half the squared misfit, and its gradient."""
        misfit = self.predict(weights) - self.signal
        gradient = self.points @ (misfit @ self.sticks.T).ravel()
        return 0.5 * float(np.vdot(misfit, misfit)), gradient.astype(np.float64)


def weigh_by_life(
    batches: Iterable[Streamlines],
    signal: Float[np.ndarray, "x y z volume"],
    bvals: Float[np.ndarray, " volume"],
    bvecs_ras: Float[np.ndarray, "volume 3"],
    mask: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    *,
    max_gb: float,
) -> Float[np.ndarray, " streamline"]:
    """Weigh streamlines so that together they explain the signal.

    Parameters
    ----------
    batches
        All streamlines, read once.
    signal
        Volumes of one shell, divided by b=0.
    bvals, bvecs_ras
        Of these volumes, s/mm² and unit vectors along RAS+ world axes.
    mask
        Voxels that are to be explained, such as white matter.
    affine
        Voxel indices to RAS world mm.
    max_gb
        Memory that may be used.

    Returns
    -------
    weights
        One per streamline in their order, 0 or more, float32; 0 for those outside the mask.

    Raises
    ------
    TrackingError
        If the streamlines do not fit into memory.
    """
    sticks = stick_signals(tracking_sphere(), bvals, bvecs_ras)
    voxel = np.full(mask.shape, -1)
    voxel[mask] = np.arange(np.count_nonzero(mask))
    points = _count_points(batches, voxel, affine, len(sticks), max_gb)
    measured = np.nan_to_num(signal[mask])
    measured -= measured.mean(axis=1, keepdims=True)
    problem = LifeProblem(points, sticks, measured.astype(np.float32))
    n_streamline = points.shape[0]
    if not n_streamline or not points.nnz:
        LOGGER.warning("No streamline of %d runs through the mask: weights are 0.", n_streamline)
        return np.zeros(n_streamline, dtype=np.float32)
    found = minimize(
        problem.cost,
        np.zeros(n_streamline),
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(0, np.inf),
        options={"maxiter": _MAX_ITERATION, "maxcor": 5},
    )
    unexplained = 2 * found.fun / float(np.vdot(problem.signal, problem.signal))
    LOGGER.info(
        "LiFE: %d iterations; streamlines explain %.0f %% of the anisotropic signal.",
        found.nit, 100 * (1 - unexplained),
    )  # fmt: skip
    return found.x.astype(np.float32)


def stick_signals(
    directions: Float[np.ndarray, "direction 3"],
    bvals: Float[np.ndarray, " volume"],
    bvecs_ras: Float[np.ndarray, "volume 3"],
) -> Float[np.ndarray, "direction volume"]:
    """Give the signal over b=0 of a stick along each direction, freed of its mean."""
    signals = np.exp(-_STICK * bvals * (directions @ bvecs_ras.T) ** 2)
    return (signals - signals.mean(axis=1, keepdims=True)).astype(np.float32)


def _count_points(
    batches: Iterable[Streamlines],
    voxel: Int[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    n_direction: int,
    max_gb: float,
) -> csr_array:
    """Count the points of each streamline in each cell, (streamline, cell)."""
    directions = tracking_sphere()
    nearest = KDTree(np.concatenate([directions, -directions]))
    n_voxel = int(voxel.max()) + 1
    n_cell = n_voxel * n_direction
    # Cells and voxels are held as a handful of arrays while weights are sought.
    room = max_gb * 1e9 - 16.0 * n_cell
    parts, used = [], 0
    n_streamline = 0
    for batch in batches:
        n_streamline += len(batch)
        part = _count_batch(batch, voxel, affine, nearest, n_direction, n_cell)
        parts.append(part)
        used += part.nnz * _BYTES_PER_CELL
        if 2 * used > room:  # parts and, for a moment, their sum
            fit = int(n_streamline * max(room, 0) / (2 * used))
            raise TrackingError(
                f"--streamline-weights life needs more than the {max_gb:g} GB that it may use: "
                f"about {fit} streamlines in {n_voxel} voxels would fit. Ask for fewer with "
                "--n-streamlines, give more memory with --mem, or use --streamline-weights sift2."
            )
    empty = csr_array((0, n_cell), dtype=np.float32)
    return csr_array(vstack([empty, *parts], format="csr", dtype=np.float32))


def _count_batch(
    batch: Streamlines,
    voxel: Int[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    nearest: KDTree,
    n_direction: int,
    n_cell: int,
) -> csr_array:
    indices = np.rint(apply_affine(np.linalg.inv(affine), batch.points)).astype(int)
    inside = np.all((indices >= 0) & (indices < voxel.shape), axis=1)
    place = np.full(len(indices), -1)
    place[inside] = voxel[tuple(indices[inside].T)]
    tangents = _tangents(batch)
    norm = np.linalg.norm(tangents, axis=1)
    kept = (place >= 0) & (norm > 0)
    _, direction = nearest.query(tangents[kept] / norm[kept, None])
    cell = place[kept] * n_direction + direction % n_direction
    ones = np.ones(len(cell), dtype=np.float32)
    counts = csr_array((ones, (batch.owner[kept], cell)), shape=(len(batch), n_cell))
    counts.sum_duplicates()
    return counts


def _tangents(batch: Streamlines) -> Float[np.ndarray, "point 3"]:
    """Give the direction of each streamline at its points, by central differences."""
    before = np.roll(batch.points, 1, axis=0)
    after = np.roll(batch.points, -1, axis=0)
    before[batch.first] = batch.points[batch.first]
    after[batch.last] = batch.points[batch.last]
    return after - before
