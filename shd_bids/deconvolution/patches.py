"""The scan as the network sees it, and random patches of it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from shd_bids.errors import MaskError


@dataclass(frozen=True)
class MaskedScan:
    """The part of a scan inside the bounding box of its mask, zero outside the mask.

    Attributes
    ----------
    dwi
        Signal over the white matter response's b=0.
    start
        Non-negative deconvolution of each voxel, as ``ShdNetwork.start`` gives it.
    mask
        Voxels to be deconvolved.
    origin
        Index of the first voxel of the box in the scan.
    shape
        Spatial shape of the whole scan.
    """

    dwi: Float[Tensor, "x y z volume"]
    start: Float[Tensor, "x y z start"]
    mask: Bool[Tensor, "x y z"]
    origin: tuple[int, int, int]
    shape: tuple[int, int, int]

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Where the box lies in the scan."""
        x, y, z = (
            slice(start, start + length)
            for start, length in zip(self.origin, self.mask.shape, strict=True)
        )
        return x, y, z


def crop_to_mask(
    dwi: Float[np.ndarray, "x y z volume"],
    mask: Bool[np.ndarray, "x y z"],
    scale: float,
    device: torch.device,
    solve_start: Callable[[Tensor], Tensor],
) -> MaskedScan:
    """Cut out the bounding box of the mask, divide by ``scale`` and solve for the start.

    Parameters
    ----------
    dwi
        The scan, scanner units.
    mask
        Voxels to be deconvolved.
    scale
        The b=0 signal of the white matter response.
    device
        Where the result is put.
    solve_start
        Maps (voxel, volume) to (voxel, start).

    Raises
    ------
    MaskError
        If the mask is empty.
    """
    if not mask.any():
        raise MaskError("The brain mask is empty, so there is nothing to deconvolve.")
    corners = np.argwhere(mask)
    low, high = corners.min(axis=0), corners.max(axis=0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    inside = mask[box]
    signal = np.asarray(dwi[box], dtype=np.float32) / np.float32(scale)
    signal[~inside] = 0.0
    signal_tensor = torch.from_numpy(signal).to(device)
    inside_tensor = torch.from_numpy(inside.copy()).to(device)
    solved = solve_start(signal_tensor[inside_tensor])
    start = solved.new_zeros(*inside.shape, solved.shape[1])
    start[inside_tensor] = solved
    return MaskedScan(
        dwi=signal_tensor,
        start=start,
        mask=inside_tensor,
        origin=(int(low[0]), int(low[1]), int(low[2])),
        shape=(mask.shape[0], mask.shape[1], mask.shape[2]),
    )


class PatchSampler:
    """Draws cubes centred near random mask voxels; what lies beyond the box is zero.

    Parameters
    ----------
    scan
        Where to draw from.
    patch
        Edge of a cube in voxels.
    generator
        Source of the draws, on the CPU.
    """

    def __init__(self, scan: MaskedScan, patch: int, generator: torch.Generator) -> None:
        self.scan = scan
        self.patch = patch
        self.generator = generator
        self.centres = scan.mask.nonzero().cpu()

    def draw(
        self, n_patch: int
    ) -> tuple[
        Float[Tensor, "batch x y z volume"],
        Float[Tensor, "batch x y z start"],
        Bool[Tensor, "batch x y z"],
    ]:
        """Draw patches of the scan, its start and its mask."""
        chosen = torch.randint(len(self.centres), (n_patch,), generator=self.generator)
        shift = torch.randint(self.patch, (n_patch, 3), generator=self.generator)
        corners = (self.centres[chosen] - shift).tolist()
        scan = self.scan
        dwi, start, mask = (
            torch.stack([_cut(volume, corner, self.patch) for corner in corners])
            for volume in (scan.dwi, scan.start, scan.mask)
        )
        return dwi, start, mask


def _cut(volume: Tensor, corner: list[int], length: int) -> Tensor:
    """Cut a cube out of a volume, zero beyond its edges."""
    source, target = [], []
    for first, size in zip(corner, volume.shape, strict=False):
        low, high = max(first, 0), min(first + length, size)
        source.append(slice(low, high))
        target.append(slice(low - first, high - first))
    cube = volume.new_zeros(length, length, length, *volume.shape[3:])
    cube[tuple(target)] = volume[tuple(source)]
    return cube
