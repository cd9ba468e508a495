"""The TRX format: a zip file of plain arrays, which stream through Python's own zip reader.

The library of the format, trx-python, maps the arrays in memory instead. To write 360 MB it took
2 GB of memory and 700 MB in the system's temporary folder, where this takes 80 MB and none; and it
opens what it reads for writing, which fails on data that are mounted read-only. The tests compare
with it.
"""

import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from shd_bids.errors import TrackingError

from .grid import Grid
from .streamlines import Streamlines


def write_trx(
    batches: Iterable[Streamlines],
    file: Path,
    grid: Grid,
    size: tuple[int, int],
    *,
    weights: Float[np.ndarray, " streamline"] | None = None,
) -> None:
    """Write streamlines as they come; only where each begins is kept in memory.

    Parameters
    ----------
    batches
        In RAS world mm; read once.
    file
        Ends in ``.trx``.
    grid
        Voxels of the image that was tracked.
    size
        How many streamlines will come, and how many points.
    weights
        Kept as data per streamline, 32 bits.
    """
    n_streamline, n_point = size
    header = {
        "DIMENSIONS": list(grid.shape),
        "VOXEL_TO_RASMM": grid.affine.tolist(),
        "NB_VERTICES": n_point,
        "NB_STREAMLINES": n_streamline,
    }
    offsets = np.zeros(n_streamline + 1, dtype="<u4" if n_point < 2**32 else "<u8")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("header.json", json.dumps(header))
        if not n_streamline:
            return
        positions = zipfile.ZipInfo("positions.3.float32")
        positions.file_size = 12 * n_point  # so that it is known whether 32-bit sizes do
        done = 0
        with archive.open(positions, "w") as stream:
            for batch in batches:
                stream.write(batch.points.astype("<f4", copy=False).tobytes())
                offsets[done + 1 : done + 1 + len(batch)] = batch.n_points
                done += len(batch)
        np.cumsum(offsets, out=offsets)
        archive.writestr(f"offsets.{offsets.dtype.name}", offsets.tobytes())
        if weights is not None:
            archive.writestr("dps/weight.float32", weights.astype("<f4").tobytes())


def read_trx(file: Path, n_streamline: int) -> Iterator[Streamlines]:
    """Read streamlines many at a time.

    Parameters
    ----------
    file
        Zip file, compressed or not, with positions of any precision.
    n_streamline
        How many at a time.

    Returns
    -------
    batches
        In the order of the file, points in RAS world mm.

    Raises
    ------
    TrackingError
        It is no such file, or it ends too early.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            kinds = {name.split(".")[0]: name.split(".")[-1] for name in archive.namelist()}
            if "positions" not in kinds:  # as it is without streamlines
                json.loads(archive.read("header.json"))
                return
            kind = np.dtype(kinds["positions"]).newbyteorder("<")
            raw = archive.read(f"offsets.{kinds['offsets']}")
            offsets = np.frombuffer(raw, np.dtype(kinds["offsets"]).newbyteorder("<"))
            with archive.open(f"positions.3.{kinds['positions']}") as stream:
                for first in range(0, len(offsets) - 1, n_streamline):
                    n_points = np.diff(offsets[first : first + n_streamline + 1].astype(int))
                    if (n_points < 0).any():  # or all that is left would be read at once
                        raise ValueError("its offsets do not grow")
                    data = stream.read(3 * kind.itemsize * int(n_points.sum()))
                    points = np.frombuffer(data, kind).reshape(-1, 3).astype(np.float32)
                    if len(points) != n_points.sum():
                        raise ValueError("its positions end too early")
                    yield Streamlines(points, n_points[n_points > 0])
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, TypeError, ValueError) as error:
        raise TrackingError(
            f"{file.name} cannot be read as TRX ({error}). Check that it was copied to its end, "
            "and with trx_info what it holds."
        ) from error
