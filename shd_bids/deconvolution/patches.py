"""The scan as the network sees it, and random patches of it."""

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
    mask
        Voxels to be deconvolved.
    origin
        Index of the first voxel of the box in the scan.
    shape
        Spatial shape of the whole scan.
    """

    dwi: Float[Tensor, "x y z volume"]
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
) -> MaskedScan:
    """Cut out the bounding box of the mask and divide by ``scale``.

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
    return MaskedScan(
        dwi=torch.from_numpy(signal).to(device),
        mask=torch.from_numpy(inside.copy()).to(device),
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
    ) -> tuple[Float[Tensor, "batch x y z volume"], Bool[Tensor, "batch x y z"]]:
        """Draw patches and their masks."""
        chosen = torch.randint(len(self.centres), (n_patch,), generator=self.generator)
        shift = torch.randint(self.patch, (n_patch, 3), generator=self.generator)
        starts = self.centres[chosen] - shift
        size = (n_patch, self.patch, self.patch, self.patch)
        dwi = self.scan.dwi.new_zeros(*size, self.scan.dwi.shape[-1])
        mask = self.scan.mask.new_zeros(size)
        for index, start in enumerate(starts.tolist()):
            source, target = _overlap(start, self.patch, self.scan.mask.shape)
            dwi[index][target] = self.scan.dwi[source]
            mask[index][target] = self.scan.mask[source]
        return dwi, mask


def _overlap(
    start: list[int], length: int, shape: torch.Size
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Give the part of a cube that lies inside a volume, in volume and in cube indices."""
    source, target = [], []
    for first, size in zip(start, shape, strict=True):
        low, high = max(first, 0), min(first + length, size)
        source.append(slice(low, high))
        target.append(slice(low - first, high - first))
    return tuple(source), tuple(target)
