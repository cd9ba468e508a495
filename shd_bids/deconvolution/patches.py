"""Scans as a network sees them, and random patches of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from shd_bids.errors import MaskError

from .physics import Physics


@dataclass(frozen=True)
class View:
    """A scan through all of its volumes, or through some.

    Attributes
    ----------
    physics
        Which volumes are seen, and what all of them are.
    start
        What ``Physics.start`` gives each voxel; the first row is zero. Half precision: it is the
        largest part of a scan.
    """

    physics: Physics
    start: Float[Tensor, "row start"]


@dataclass(frozen=True)
class MaskedScan:
    """The voxels of a mask, and where they are in its bounding box.

    Attributes
    ----------
    dwi
        Signal over the white matter response's b=0; the first row is zero.
    row
        The row of each voxel of the box, 0 outside the mask.
    views
        The first sees all volumes; it is what will be deconvolved. A network is trained on the
        others, if there are others.
    """

    dwi: Float[Tensor, "row volume"]
    row: Int[Tensor, "x y z"]
    views: tuple[View, ...]

    @property
    def mask(self) -> Bool[Tensor, "x y z"]:
        """Voxels to be deconvolved, in the box."""
        return self.row > 0

    @property
    def training_views(self) -> tuple[View, ...]:
        """Views to train on."""
        return self.views[1:] or self.views

    @property
    def inner(self) -> tuple[slice, ...]:
        """Part of the box that training patches lie in: all of it, and what is beyond is empty."""
        return (slice(None),) * 3

    def patch(self, row: Int[Tensor, "batch x y z"], view: View) -> "Patch":
        """Look up voxels by their rows."""
        return Patch(view.physics, self.dwi[row], view.start[row].float(), row > 0)


@dataclass(frozen=True)
class TrainingBlock(MaskedScan):
    """A block cut out of a scan, only to be trained on: all of its views are for that.

    Attributes
    ----------
    margin
        Voxels at each side of the box, along each axis, that are there for the start alone.
    """

    margin: tuple[tuple[int, int], ...]

    @property
    def training_views(self) -> tuple[View, ...]:
        """Views to train on."""
        return self.views

    @property
    def inner(self) -> tuple[slice, ...]:
        """The box without its margin, so that no patch takes a cut for the rim of the brain."""
        sides = zip(self.margin, self.row.shape, strict=True)
        return tuple(slice(low, size - high) for (low, high), size in sides)


@dataclass(frozen=True)
class Patch:
    """Cubes of a scan in one view of it; zero outside the mask."""

    physics: Physics
    dwi: Float[Tensor, "batch x y z volume"]
    start: Float[Tensor, "batch x y z start"]
    mask: Bool[Tensor, "batch x y z"]

    def split(self, n_part: int) -> list["Patch"]:
        """Deal the cubes out in parts of about the same size."""
        columns = (tensor.tensor_split(n_part) for tensor in (self.dwi, self.start, self.mask))
        return [Patch(self.physics, *column) for column in zip(*columns, strict=True)]


def crop_to_mask(
    dwi: Float[np.ndarray, "x y z volume"],
    mask: Bool[np.ndarray, "x y z"],
    scale: float,
    views: Sequence[Physics],
) -> MaskedScan:
    """Gather the voxels of a mask, divide by ``scale`` and solve for the start of each view.

    Parameters
    ----------
    dwi
        The scan, scanner units.
    mask
        Voxels to be deconvolved.
    scale
        The b=0 signal of the white matter response.
    views
        On the device where the result is put.

    Raises
    ------
    MaskError
        If the mask is empty.
    """
    if not mask.any():
        raise MaskError("The brain mask is empty, so there is nothing to deconvolve.")
    corners = np.argwhere(mask)
    low, high = corners.min(axis=0), corners.max(axis=0) + 1
    inside = mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    row = np.zeros(inside.shape, dtype=np.int64)
    row[inside] = np.arange(1, len(corners) + 1)
    signal = np.zeros((len(corners) + 1, dwi.shape[-1]), dtype=np.float32)
    np.divide(dwi[mask], np.float32(scale), out=signal[1:])
    device = views[0].kernel.device
    signal_tensor = torch.from_numpy(signal).to(device)
    neighbours = torch.from_numpy(_find_neighbours(row)).to(device)
    return MaskedScan(
        dwi=signal_tensor,
        row=torch.from_numpy(row).to(device),
        views=tuple(View(view, view.start(signal_tensor, neighbours).half()) for view in views),
    )


def _find_neighbours(row: Int[np.ndarray, "x y z"]) -> Int[np.ndarray, "row 6"]:
    """Give the rows before and after each row along each axis; 0 where there is none."""
    padded = np.pad(row, 1)
    inside = padded > 0
    neighbours = np.zeros((int(row.max()) + 1, 6), dtype=np.int64)
    for number, (axis, shift) in enumerate((axis, shift) for axis in range(3) for shift in (1, -1)):
        neighbours[1:, number] = np.roll(padded, shift, axis)[inside]
    return neighbours


class PatchSampler:
    """Draws cubes centred near random mask voxels, from one scan and one view at a time.

    Parameters
    ----------
    scans
        Where to draw from, each as often as it has voxels.
    patch
        Edge of a cube in voxels.
    generator
        Source of the draws, on the CPU.
    """

    def __init__(self, scans: Sequence[MaskedScan], patch: int, generator: torch.Generator) -> None:
        self.scans = scans
        self.patch = patch
        self.generator = generator
        self.centres = [scan.row[scan.inner].nonzero().cpu() for scan in scans]
        self.last = torch.tensor([len(centre) for centre in self.centres]).cumsum(0)

    def draw(self, n_patch: int) -> Patch:
        """Draw patches."""
        scan_index = int(
            torch.searchsorted(self.last, self._number(int(self.last[-1])), right=True)
        )
        scan, centres = self.scans[scan_index], self.centres[scan_index]
        view = scan.training_views[self._number(len(scan.training_views))]
        chosen = torch.randint(len(centres), (n_patch,), generator=self.generator)
        shift = torch.randint(self.patch, (n_patch, 3), generator=self.generator)
        corners = centres[chosen] - shift
        if isinstance(scan, TrainingBlock):
            corners = _move_inside(corners, scan, self.patch)
        row = torch.stack([_cut(scan.row, corner, self.patch) for corner in corners.tolist()])
        return scan.patch(row, view)

    def _number(self, limit: int) -> int:
        return int(torch.randint(limit, (), generator=self.generator))


def _move_inside(
    corners: Int[Tensor, "patch 3"], block: TrainingBlock, length: int
) -> Int[Tensor, "patch 3"]:
    """Move cubes that begin near the end of a block's inner part into it, as far as they fit."""
    size = torch.tensor([part.stop - part.start for part in block.inner])
    low = torch.tensor([part.start for part in block.inner])
    # A block smaller than the cube is one at the rim of the image, beyond which nothing lies.
    last = (size - length).clamp(min=0)
    return torch.minimum(corners.clamp(min=0), last) + low


def _cut(volume: Tensor, corner: list[int], length: int) -> Tensor:
    """Cut a cube out of a volume, zero beyond its edges."""
    source, target = [], []
    for first, size in zip(corner, volume.shape, strict=True):
        low, high = max(first, 0), min(first + length, size)
        source.append(slice(low, high))
        target.append(slice(low - first, high - first))
    cube = volume.new_zeros(length, length, length)
    cube[tuple(target)] = volume[tuple(source)]
    return cube
