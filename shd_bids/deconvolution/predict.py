"""Deconvolve a whole scan with a trained network, tile by tile."""

import logging
from itertools import islice, product

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from .device import out_of_memory
from .network import ShdNetwork
from .parallel import Team
from .patches import MaskedScan
from .presets import Preset

LOGGER = logging.getLogger(__name__)


def predict(
    network: ShdNetwork,
    scan: MaskedScan,
    preset: Preset,
    *,
    compute_dtype: torch.dtype = torch.float32,
    team: Team = Team(),  # noqa: B008  # frozen
) -> Float[Tensor, "voxel unknown"]:
    """Deconvolve every voxel of the mask.

    The scan is cut in tiles that share no voxel; each is given a halo of neighbours, whose result
    is thrown away. Tiles start at multiples of the U-Net's spatial pooling, so that its cells are
    the same in every tile, and are shrunk to the mask. Tiles are dealt out to the processes of
    ``team``, all of which have the result, and halved when the memory of a card does not suffice.

    Returns
    -------
    coefficients
        On the CPU; the voxels of the mask in the order of their rows.

    Raises
    ------
    DeviceError
        If even the smallest tile does not fit in the memory of the card.
    """
    tile = preset.tile
    smallest = 2 ** (preset.n_level - 1)
    while True:
        full: torch.cuda.OutOfMemoryError | None = None
        try:
            result = _predict_tiles(network, scan, tile, preset.halo, smallest, compute_dtype, team)
        except torch.cuda.OutOfMemoryError as error:
            full = error.with_traceback(None)  # whose frames hold what the card has no room for
        if not any(team.gather(full is not None)):
            return team.add(result.to(scan.dwi.device)).cpu() if team.size > 1 else result
        torch.cuda.empty_cache()
        if tile // 2 < smallest:
            raise out_of_memory(scan.dwi.device, f"tiles of {tile} voxels", full) from full
        tile = max(tile // 2 // smallest * smallest, smallest)
        LOGGER.warning("The card ran out of memory; going on with tiles of %d voxels.", tile)


@torch.inference_mode()
def _predict_tiles(
    network: ShdNetwork,
    scan: MaskedScan,
    tile: int,
    halo: int,
    cell: int,
    compute_dtype: torch.dtype,
    team: Team,
) -> Float[Tensor, "voxel unknown"]:
    """Give the voxels of this process's tiles, zero elsewhere."""
    network.eval()
    view, shape = scan.views[0], scan.row.shape
    result = torch.zeros(len(scan.dwi), view.physics.kernel.shape[1])
    # Zeros stand for what lies beyond the box, as in training.
    end = [halo + (-length) % cell for length in shape]
    rows = functional.pad(scan.row, (halo, end[2], halo, end[1], halo, end[0]))
    corners = product(*(range(0, length, tile) for length in shape))
    for corner in islice(corners, team.rank, None, team.size):
        core = _occupied(scan.mask, corner, tile, cell)
        if core is None:
            continue
        window = rows[tuple(slice(part.start, part.stop + 2 * halo) for part in core)]
        patch = scan.patch(window.unsqueeze(0), view)
        coefficients = network(patch.physics, patch.dwi, patch.start, compute_dtype)[0]
        inside = (slice(halo, -halo or None),) * 3
        row = window[inside]
        result[row[row > 0].cpu()] = coefficients[inside][row > 0].cpu()
    return result[1:]


def _occupied(
    mask: Bool[Tensor, "x y z"], corner: tuple[int, ...], tile: int, cell: int
) -> tuple[slice, ...] | None:
    """Shrink a tile to the pooling cells that hold mask voxels; None if there are none."""
    inside = mask[tuple(slice(first, first + tile) for first in corner)].nonzero()
    if len(inside) == 0:
        return None
    low = inside.amin(dim=0) // cell * cell
    high = (inside.amax(dim=0) // cell + 1) * cell
    return tuple(
        slice(first + a, first + b)
        for first, a, b in zip(corner, low.tolist(), high.tolist(), strict=True)
    )
