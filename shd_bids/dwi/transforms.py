"""Where a volume shows what the corrected grid shows: head motion, eddy currents, distortion.

This is the one convention of all steps of the correction. A point p of the corrected head (RAS+ mm)
is found in volume v at

    q = R_v (p - c) + c + t_v                     the head has moved, about the centre c of the grid
    o = q + e [g_v · (q - c) + h_v + s_v T f(p) m]    the signal is displaced along the phase axis e

with the rotation R and translation t of the head, the gradient g of the eddy currents' field (mm
along the phase axis for each mm along the image's x, y and z axis) and its even part h (mm
everywhere, not to be taken for the head's translation), the off-resonance field f in Hz, which
moves with the head, the total readout time T in s, the voxel's edge m along the phase axis in mm
and the sign s of the phase encoding: BIDS's ``j`` displaces along the image's second axis by +T f
voxels where the field is positive, ``j-`` by as many backwards.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from nibabel.affines import voxel_sizes
from scipy.ndimage import map_coordinates, spline_filter
from scipy.spatial.transform import Rotation

from shd_bids.bids.files import write_text
from shd_bids.errors import TransformError

from .gradients import GradientTable

_AXES = "ijk"
_COLUMNS = {
    "translation_mm": ("trans_x", "trans_y", "trans_z"),
    "rotation_rad": ("rot_x", "rot_y", "rot_z"),
    "eddy": ("eddy_x", "eddy_y", "eddy_z", "eddy_offset"),
}


@dataclass(frozen=True)
class PhaseEncoding:
    """How an image was phase-encoded.

    Parameters
    ----------
    axis
        Image axis: 0, 1 or 2.
    sign
        1 or -1.
    readout_s
        Total readout time, s; 0 if it is not known.
    """

    axis: int
    sign: int
    readout_s: float = 0.0

    @classmethod
    def from_bids(cls, direction: str, readout_s: float = 0.0) -> "PhaseEncoding":
        """Read BIDS's ``PhaseEncodingDirection``.

        Examples
        --------
        >>> PhaseEncoding.from_bids("j-", 0.05)
        PhaseEncoding(axis=1, sign=-1, readout_s=0.05)
        """
        return cls(_AXES.index(direction[0]), -1 if direction.endswith("-") else 1, readout_s)


@dataclass(frozen=True, eq=False)
class VolumeTransforms:
    """Head position and linear eddy currents of every volume, by the convention above.

    ``rotation_rad`` holds angles about the fixed RAS axes, x first, then y, then z; ``eddy`` holds
    g and h.
    """

    translation_mm: Float[np.ndarray, "volume 3"]
    rotation_rad: Float[np.ndarray, "volume 3"]
    eddy: Float[np.ndarray, "volume 4"]

    @classmethod
    def identity(cls, n_volume: int) -> "VolumeTransforms":
        """Give the transforms of a head that never moved."""
        still = np.zeros((n_volume, 3))
        return cls(still, still.copy(), np.zeros((n_volume, 4)))

    @property
    def n_volume(self) -> int:
        """Number of volumes."""
        return len(self.eddy)

    def rotations(self) -> Float[np.ndarray, "volume 3 3"]:
        """Give the rotation matrix of the head in each volume, RAS axes."""
        return Rotation.from_euler("xyz", self.rotation_rad).as_matrix()

    def relative_to(self, volume: int) -> "VolumeTransforms":
        """Take the head's position in one volume for the corrected one."""
        first = self.rotations()[volume].T
        turned = self.rotations() @ first
        moved = self.translation_mm - turned @ self.translation_mm[volume]
        angles = Rotation.from_matrix(turned).as_euler("xyz")
        return replace(self, translation_mm=moved, rotation_rad=angles)


def voxel_matrix(
    transforms: VolumeTransforms,
    volume: int,
    affine: Float[np.ndarray, "4 4"],
    shape: tuple[int, int, int],
    phase_axis: int,
) -> Float[np.ndarray, "4 4"]:
    """Give the affine part of the map from voxels of the corrected grid to those of a volume.

    Parameters
    ----------
    transforms
        Of all volumes.
    volume
        Which one.
    affine, shape
        Of the grid, which both share.
    phase_axis
        0, 1 or 2.

    Returns
    -------
    Float[np.ndarray, "4 4"]
        To homogeneous voxel coordinates; the field's displacement is added to these.
    """
    centre = affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
    axes = affine[:3, :3] / voxel_sizes(affine)  # columns: the image's axes in the world
    motion, eddy = np.eye(4), np.eye(4)
    motion[:3, :3] = transforms.rotations()[volume]
    motion[:3, 3] = transforms.translation_mm[volume]
    pull = np.append(
        np.linalg.solve(axes.T, transforms.eddy[volume, :3]), transforms.eddy[volume, 3]
    )
    eddy[:3] += np.outer(axes[:, phase_axis], pull)
    to_centre, back = np.eye(4), np.eye(4)
    to_centre[:3, 3], back[:3, 3] = -centre, centre
    return np.linalg.inv(affine) @ back @ eddy @ motion @ to_centre @ affine


def rotate_gradients(table: GradientTable, transforms: VolumeTransforms) -> GradientTable:
    """Turn the directions as the head saw them: back by its rotation in each volume.

    Parameters
    ----------
    table
        As the scanner applied it, RAS+ axes.
    transforms
        Of its volumes.

    Returns
    -------
    GradientTable
        For the corrected images.
    """
    turned = np.einsum("vji,vj->vi", transforms.rotations(), table.bvecs_ras)
    return GradientTable(table.bvals, turned)


def resample_volume(
    volume: Float[np.ndarray, "x y z"],
    matrix: Float[np.ndarray, "4 4"],
    *,
    shift_vox: Float[np.ndarray, "i j k"] | None = None,
    phase_axis: int = 1,
    eddy_stretch: float = 1.0,
    out_shape: tuple[int, int, int] | None = None,
    order: int = 3,
) -> Float[np.ndarray, "i j k"]:
    """Resample a volume once for all that displaced it, and give stretched signal its density back.

    The signal is multiplied by the Jacobian of the displacement along the phase axis, as
    Andersson, Skare and Ashburner (NeuroImage 20, 2003) do. Outside the volume is 0.

    Parameters
    ----------
    volume
        As it is.
    matrix
        From voxels of the corrected grid to those of the volume.
    shift_vox
        Displacement by the field along the phase axis, in voxels of the volume, on the corrected
        grid; none by default.
    phase_axis
        0, 1 or 2.
    eddy_stretch
        Of a line along the phase axis by eddy currents: 1 + their gradient along it.
    out_shape
        Of the corrected grid; that of the volume by default.
    order
        Of the spline: 1 is linear, 3 cubic.

    Returns
    -------
    Float[np.ndarray, "i j k"]
        Corrected volume.
    """
    shape = volume.shape if out_shape is None else out_shape
    grid = np.indices(shape, dtype=np.float64, sparse=True)
    at = np.stack(
        [sum(matrix[row, k] * grid[k] for k in range(3)) + matrix[row, 3] for row in range(3)]
    )
    stretch = np.full((1, 1, 1), eddy_stretch)
    if shift_vox is not None:
        at[phase_axis] += shift_vox
        spacing = matrix[phase_axis, phase_axis]  # the output's voxels may be of another size
        stretch = stretch + np.gradient(shift_vox, axis=phase_axis) / spacing
    coefficients = spline_filter(volume, order, output=np.float32) if order > 1 else volume
    values = map_coordinates(coefficients, at, output=np.float32, order=order, prefilter=False)
    return values * stretch.clip(0).astype(np.float32)


def write_transforms(transforms: VolumeTransforms, file: Path) -> None:
    """Write a row per volume as TSV: mm, radians, mm per mm, mm; by rename."""
    columns = {
        column: getattr(transforms, name)[:, axis]
        for name, names in _COLUMNS.items()
        for axis, column in enumerate(names)
    }
    write_text(file, pd.DataFrame(columns).to_csv(sep="\t", index=False, float_format="%.8g"))


def read_transforms(file: Path) -> VolumeTransforms:
    """Read what `write_transforms` wrote.

    Raises
    ------
    TransformError
        If a column is missing or not numeric.
    """
    try:
        table = pd.read_csv(file, sep="\t")
        arrays = [table[list(names)].to_numpy(np.float64) for names in _COLUMNS.values()]
    except (OSError, KeyError, ValueError) as error:
        raise TransformError(
            f"{file} cannot be read as head positions: {error}. Expected columns "
            + ", ".join(name for names in _COLUMNS.values() for name in names)
        ) from error
    return VolumeTransforms(*arrays)
