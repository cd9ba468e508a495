"""An echo-planar scanner for the phantom's head: what it records of a head that has moved.

The head is looked up analytically where it lies, so nothing is interpolated. Distortion pushes the
signal of each fine cell along the phase axis into the cells that it covers, which keeps its sum to
rounding whatever the displacement, folds too: no resampling of a correction is mirrored here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from nibabel.affines import voxel_sizes

from shd_bids.dwi.transforms import PhaseEncoding, VolumeTransforms

from .geometry import ASSOCIATION_INTRA_FRACTION, BUNDLES, FIELD_OF_VIEW_MM, sample_anatomy
from .inhomogeneity import coil_shading, off_resonance_hz
from .kernels import DIFFUSIVITY, S0, fibre_signal

_N_FINE = 2  # cells along each axis of a voxel
_INTRA = np.array([bundle.intra_fraction for bundle in BUNDLES] + [ASSOCIATION_INTRA_FRACTION])
_FARTHEST_MM = np.array([33.0, 33.0, 25.5])  # radii of an ellipsoid outside which nothing is


@dataclass(frozen=True, eq=False)
class Head:
    """What gives signal in the cells of a fine grid, in scanner axes."""

    shape: tuple[int, int, int]  # of the fine grid
    cell: Int[np.ndarray, " point"]  # that each point fills, flat
    isotropic: Float[np.ndarray, "point 2"]  # fractions of grey matter and fluid
    owner: Int[np.ndarray, " fibre"]  # point that each fibre belongs to
    weight: Float[np.ndarray, " fibre"]  # volume fraction
    intra_fraction: Float[np.ndarray, " fibre"]
    direction: Float[np.ndarray, "fibre 3"]

    def signal(self, bval: float, bvec_ras: Float[np.ndarray, "3"]) -> Float[np.ndarray, "i j k"]:
        """Give each cell's signal under one gradient, applied in scanner axes."""
        decay = [S0[name] * np.exp(-DIFFUSIVITY[name] * bval) for name in ("GM", "CSF")]
        cosines = self.direction @ bvec_ras
        bvals = np.full_like(cosines, bval)
        white = S0["WM"] * self.weight * fibre_signal(bvals, cosines, self.intra_fraction)
        there = self.isotropic @ decay + np.bincount(self.owner, white, len(self.cell))
        signal = np.zeros(np.prod(self.shape))
        signal[self.cell] = there
        return signal.reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Scanner:
    """A grid and what is wrong with the machine.

    Parameters
    ----------
    shape, affine
        Of the images.
    field_hz
        Largest bump of the field that the head brings along.
    shading
        Strength of the coil's; it stays where it is when the head moves.
    gibbs
        Whether k-space ends at the image's resolution; otherwise a voxel is the mean of its cells.
    """

    shape: tuple[int, int, int]
    affine: Float[np.ndarray, "4 4"]
    field_hz: float = 0.0
    shading: float = 0.0
    gibbs: bool = False
    scale: float = field(init=False)  # of the anatomy

    def __post_init__(self) -> None:
        extent_mm = voxel_sizes(self.affine) * self.shape
        object.__setattr__(self, "scale", float(np.min(extent_mm / FIELD_OF_VIEW_MM)))

    def offsets_mm(
        self, n_fine: Sequence[int] = (_N_FINE,) * 3, edges_along: int | None = None
    ) -> Float[np.ndarray, "i j k 3"]:
        """Give where cells lie from the centre of the grid, world axes; or edges along an axis."""
        axes = [
            (np.arange(n * fine) + 0.5) / fine - n / 2
            for n, fine in zip(self.shape, n_fine, strict=True)
        ]
        if edges_along is not None:
            n, fine = self.shape[edges_along], n_fine[edges_along]
            axes[edges_along] = np.arange(n * fine + 1) / fine - n / 2
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ self.affine[:3, :3].T

    def place_head(self, transforms: VolumeTransforms, volume: int) -> Head:
        """Look up what lies in each cell when the head is where it is in this volume."""
        offsets = self.offsets_mm()
        points = self._in_head(offsets, transforms, volume).reshape(-1, 3)
        cell = np.flatnonzero(np.linalg.norm(points / _FARTHEST_MM, axis=1) < 1)
        anatomy = sample_anatomy(points[cell])
        white = anatomy.tissue[:, :1] * anatomy.share
        owner, bundle = np.nonzero(white > 1e-4)
        return Head(
            shape=offsets.shape[:3],
            cell=cell,
            isotropic=anatomy.tissue[:, 1:],
            owner=owner,
            weight=white[owner, bundle],
            intra_fraction=_INTRA[bundle],
            direction=anatomy.direction[owner, bundle] @ transforms.rotations()[volume].T,
        )

    def record(
        self,
        signal: Float[np.ndarray, "i j k"],
        transforms: VolumeTransforms,
        volume: int,
        phase: PhaseEncoding,
    ) -> Float[np.ndarray, "x y z"]:
        """Turn the signal of the cells into an image: shaded, distorted, of limited resolution."""
        shaded = signal * coil_shading(self.offsets_mm() / self.scale, self.shading)
        edges = self.offsets_mm(edges_along=phase.axis)
        hz = off_resonance_hz(self._in_head(edges, transforms, volume), self.field_hz)
        size_mm = voxel_sizes(self.affine)
        axes = self.affine[:3, :3] / size_mm
        eddy_mm = (edges @ axes) @ transforms.eddy[volume, :3] + transforms.eddy[volume, 3]
        shift_vox = eddy_mm / size_mm[phase.axis] + phase.sign * phase.readout_s * hz
        return self.reconstruct(push_along(shaded, _N_FINE * shift_vox, phase.axis))

    def reconstruct(self, fine: Float[np.ndarray, "i j k"]) -> Float[np.ndarray, "x y z"]:
        """Bring a fine image to the resolution of the grid."""
        slices = _average_blocks(fine, (1, 1, _N_FINE))
        if self.gibbs:
            return _truncate(_truncate(slices, 0), 1)
        return _average_blocks(slices, (_N_FINE, _N_FINE, 1))

    def truth(self) -> tuple[Float[np.ndarray, "x y z"], Float[np.ndarray, "x y z"]]:
        """Give the field in Hz and the shading at the voxels of the head at rest."""
        points = self.offsets_mm(n_fine=(1, 1, 1)) / self.scale
        return off_resonance_hz(points, self.field_hz), coil_shading(points, self.shading)

    def _in_head(
        self, offsets_mm: np.ndarray, transforms: VolumeTransforms, volume: int
    ) -> np.ndarray:
        """Give the anatomy's own coordinates: R^T (q - c - t), to its scale."""
        moved = offsets_mm - transforms.translation_mm[volume]
        return moved @ transforms.rotations()[volume] / self.scale


def push_along(
    image: Float[np.ndarray, "*shape"], edge_shift: Float[np.ndarray, "*_"], axis: int
) -> Float[np.ndarray, "*shape"]:
    """Push the content of cells along an axis; what leaves at one end comes in at the other.

    Parameters
    ----------
    image
        Content of each cell.
    edge_shift
        Displacement of the cells' edges in cells: one more along the axis than the image has.
    axis
        Along which.

    Examples
    --------
    >>> push_along(np.array([0.0, 4.0, 0.0, 0.0]), np.array([0.0, 0.5, 1.5, 0.0, 0.0]), 0)
    array([0., 1., 2., 1.])
    """
    lines, shifts = np.moveaxis(image, axis, -1), np.moveaxis(edge_shift, axis, -1)
    n_cell = lines.shape[-1]
    edges = shifts + np.arange(n_cell + 1)
    full = np.nonzero(lines)
    content = lines[full]
    ends = edges[full], edges[(*full[:-1], full[-1] + 1)]
    low, high = np.minimum(*ends), np.maximum(*ends) + 1e-9
    line = np.ravel_multi_index(full[:-1], lines.shape[:-1]) if lines.ndim > 1 else 0
    pushed = np.zeros(lines.size)
    first = np.floor(low).astype(int)
    for step in range(int(np.ceil((high - low).max(initial=0.0))) + 1):
        target = first + step
        overlap = np.minimum(high, target + 1) - np.maximum(low, target)
        share = content * overlap.clip(0) / (high - low)
        pushed += np.bincount(line * n_cell + target % n_cell, share, minlength=lines.size)
    return np.moveaxis(pushed.reshape(lines.shape), -1, axis)


def _average_blocks(image: np.ndarray, block: Sequence[int]) -> np.ndarray:
    paired = [size for n, b in zip(image.shape, block, strict=True) for size in (n // b, b)]
    return image.reshape(paired).mean(axis=(1, 3, 5))


def _truncate(fine: np.ndarray, axis: int) -> np.ndarray:
    """Keep the centre of k-space along an axis, and the voxels where they were."""
    n_fine = fine.shape[axis]
    n = n_fine // _N_FINE
    order = np.fft.fftfreq(n, 1 / n).astype(int)
    spectrum = np.take(np.fft.fft(fine, axis=axis), order, axis=axis)
    # the first voxel's centre lies half a voxel less half a cell beyond the first cell's
    ramp = np.exp(1j * np.pi * order * (_N_FINE - 1) / n_fine)
    spectrum *= np.expand_dims(ramp, tuple(a for a in range(fine.ndim) if a != axis))
    return np.fft.ifft(spectrum, axis=axis).real / _N_FINE
