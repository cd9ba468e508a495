"""The voxels that streamlines pass through, found without a loop over streamlines."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from shd_bids.errors import TrackingError

from .streamlines import Streamlines


@dataclass(frozen=True)
class Grid:
    """Voxels of an image.

    Attributes
    ----------
    affine
        Voxel indices to RAS world mm; whole numbers are voxel centres.
    shape
        Voxels along each axis.
    """

    affine: Float[np.ndarray, "4 4"]
    shape: tuple[int, int, int]

    @property
    def smallest_mm(self) -> float:
        """The shortest side of a voxel."""
        return float(np.linalg.norm(self.affine[:3, :3], axis=0).min())

    def at(self, voxel_mm: float) -> "Grid":
        """Lay cubes of another size over the same field of view, from the same corner.

        Parameters
        ----------
        voxel_mm
            Edge of the cubes, in mm; the last one of a row may reach over the old border.

        Returns
        -------
        Grid
            Axes in the same directions.

        Examples
        --------
        >>> import numpy as np
        >>> fine = Grid(np.diag([2.0, 2.0, 2.0, 1.0]), (4, 4, 3)).at(0.5)
        >>> fine.shape, fine.affine[:3, 3]
        ((16, 16, 12), array([-0.75, -0.75, -0.75]))
        """
        if not voxel_mm > 0:
            raise TrackingError(
                f"Voxels of {voxel_mm:g} mm were asked for. Give a size above 0 mm."
            )
        old_mm = np.linalg.norm(self.affine[:3, :3], axis=0)
        affine = self.affine.astype(float)  # astype copies
        affine[:3, :3] *= voxel_mm / old_mm
        # Both grids share the outer corner of their first voxel.
        affine[:3, 3] += 0.5 * (affine[:3, :3] - self.affine[:3, :3]).sum(axis=1)
        # A border that is off by rounding alone asks for no further voxel.
        x, y, z = np.ceil(np.array(self.shape) * old_mm / voxel_mm - 1e-4).astype(int).tolist()
        return Grid(affine, (x, y, z))

    def crossed(self, streamlines: Streamlines) -> tuple[np.ndarray, np.ndarray]:
        """Find every voxel that each streamline passes through.

        The points of a streamline are joined by straight lines. Wherever such a line goes through
        the face of a voxel it enters the next one, so that none is missed, be its corner clipped
        ever so little, and the work grows with the voxels, not with the points.

        Parameters
        ----------
        streamlines
            In RAS world mm.

        Returns
        -------
        owner
            Which streamline, by its order.
        voxel
            Which voxel, its index in the flattened grid. Each pair comes once, in ascending order;
            voxels outside the grid are left out.
        """
        place = self._from_corner(streamlines.points)
        index = np.floor(place).astype(np.int32)
        n_face = np.abs(np.diff(index, axis=1)).sum(axis=0)
        n_face[streamlines.last[:-1]] = 0  # from one streamline to the next
        owner = streamlines.owner
        reached = 1 + np.flatnonzero(n_face)
        many = np.flatnonzero(n_face > 1)  # a single face leads to where the next point is
        segment, between = _enter(place[:, many], place[:, many + 1])
        return self._once_each(
            np.concatenate([np.arange(len(streamlines)), owner[reached], owner[many[segment]]]),
            np.concatenate([index[:, streamlines.first], index[:, reached], between], axis=1),
        )

    def ended(self, streamlines: Streamlines) -> tuple[np.ndarray, np.ndarray]:
        """Find the voxels of the first and the last point, as `crossed` does for the whole."""
        place = self._from_corner(streamlines.ends.reshape(-1, 3))
        owner = np.repeat(np.arange(len(streamlines)), 2)
        return self._once_each(owner, np.floor(place).astype(np.int32))

    def _from_corner(self, points: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, "3 point"]:
        """Return voxel coordinates counted from the outer corner of the first voxel."""
        to_voxel = np.linalg.inv(self.affine)
        from_corner = to_voxel[:3, 3:] + 0.5
        place = to_voxel[:3, :3].astype(np.float32) @ points.T.astype(np.float32)
        return place + from_corner.astype(np.float32)

    def _once_each(
        self, owner: Int[np.ndarray, " visit"], index: Int[np.ndarray, "3 visit"]
    ) -> tuple[np.ndarray, np.ndarray]:
        x, y, z = index
        nx, ny, nz = self.shape
        inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny) & (z >= 0) & (z < nz)
        n_voxel = nx * ny * nz
        visit = (((owner * nx + x) * ny + y) * nz + z)[inside]
        visit.sort()
        visit = visit[np.diff(visit, prepend=-1) > 0]
        return np.divmod(visit, n_voxel)


def _enter(
    start: Float[np.ndarray, "3 segment"], stop: Float[np.ndarray, "3 segment"]
) -> tuple[Int[np.ndarray, " face"], Int[np.ndarray, "3 face"]]:
    """Find each face that straight lines go through: by which line, and into which voxel."""
    step = stop - start
    before, after = (np.floor(place).astype(np.int32) for place in (start, stop))
    n_faces = np.abs(after - before)
    segments, entered = [], []
    for axis, n_face in enumerate(n_faces):
        segment = np.repeat(np.arange(len(n_face)), n_face)
        nth = np.arange(len(segment)) - np.repeat(np.cumsum(n_face) - n_face, n_face)
        forward = step[axis, segment] > 0
        left = before[axis, segment] + np.where(forward, nth, -nth).astype(np.int32)
        face = (left + forward).astype(np.float32)
        along = (face - start[axis, segment]) / step[axis, segment]
        index = np.empty((3, len(segment)), dtype=np.int32)
        index[axis] = left + np.where(forward, 1, -1)
        for other in {0, 1, 2} - {axis}:
            towards = step[other, segment]
            at_face = start[other, segment] + along * towards
            # On an edge the voxel beyond it is meant, in the direction of travel.
            index[other] = np.where(towards < 0, np.ceil(at_face) - 1, np.floor(at_face))
        segments.append(segment)
        entered.append(index)
    return np.concatenate(segments), np.concatenate(entered, axis=1)
