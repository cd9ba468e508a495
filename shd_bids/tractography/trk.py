"""The TRK format of TrackVis, through nibabel."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float
from nibabel.affines import voxel_sizes
from nibabel.orientations import aff2axcodes
from nibabel.streamlines import Field, LazyTractogram, TrkFile

from .grid import Grid
from .streamlines import Streamlines


def write_trk(
    batches: Iterable[Streamlines],
    file: Path,
    grid: Grid,
    *,
    weights: Float[np.ndarray, " streamline"] | None = None,
) -> None:
    """Write streamlines as they come.

    Parameters
    ----------
    batches
        In RAS world mm; read once.
    file
        Ends in ``.trk``.
    grid
        Voxels of the image that was tracked; the points are stored relative to them.
    weights
        Kept as property of the streamlines, 32 bits.
    """
    header = {
        Field.VOXEL_TO_RASMM: grid.affine.astype(np.float32),
        Field.VOXEL_SIZES: voxel_sizes(grid.affine).astype(np.float32),
        Field.DIMENSIONS: np.array(grid.shape, dtype=np.int16),
        Field.VOXEL_ORDER: "".join(aff2axcodes(grid.affine)),
    }
    tractogram = LazyTractogram(
        streamlines=lambda: (line for batch in batches for line in batch),
        data_per_streamline={} if weights is None else {"weight": lambda: iter(weights[:, None])},
        affine_to_rasmm=np.eye(4),
    )
    TrkFile(tractogram, header=header).save(file)
