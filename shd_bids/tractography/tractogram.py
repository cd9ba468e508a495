"""Streamlines on disk, and how many of them cross each voxel."""

import itertools
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Float, Int
from nibabel.streamlines import LazyTractogram, TckFile

from .streamlines import Streamlines

LOGGER = logging.getLogger(__name__)

_N_HEADER_CHARACTER = 200


def write_tck(
    streamlines: Iterable[Float[np.ndarray, "_ 3"]],
    file: Path,
    *,
    settings: Mapping[str, object] | None = None,
) -> int:
    """Write streamlines one by one in MRtrix3's format, under a temporary name until complete.

    Parameters
    ----------
    streamlines
        Points in RAS world mm; read once, so that it may track as it goes.
    file
        Ends in ``.tck``; replaced when it exists.
    settings
        Entries for the header, such as the step and the seed.

    Returns
    -------
    n_streamline
        Number written; none is a valid file.
    """
    n_streamline = 0

    def count() -> Iterator[np.ndarray]:
        nonlocal n_streamline
        for streamline in streamlines:
            n_streamline += 1
            yield streamline

    header = {name: _header_text(value) for name, value in (settings or {}).items()}
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.stem}-") as folder:
        partial = Path(folder) / file.name
        tractogram = LazyTractogram(streamlines=count, affine_to_rasmm=np.eye(4))
        TckFile(tractogram, header=header).save(partial)
        partial.replace(file)
    if n_streamline == 0:
        LOGGER.warning("No streamline was found: %s is empty.", file.name)
    return n_streamline


def read_tck(file: Path) -> Iterator[Float[np.ndarray, "_ 3"]]:
    """Read streamlines one by one, points in RAS world mm."""
    yield from nib.streamlines.load(file, lazy_load=True).streamlines


def read_batches(file: Path, *, n_streamline: int = 20_000) -> Iterator[Streamlines]:
    """Read streamlines many at a time, so that memory does not grow with the file.

    Parameters
    ----------
    file
        Ends in ``.tck``.
    n_streamline
        How many at a time; the last batch may have fewer.

    Returns
    -------
    batches
        In the order of the file.
    """
    lines = read_tck(file)
    while len(batch := Streamlines.of(itertools.islice(lines, n_streamline))):
        yield batch


def density_map(
    streamlines: Iterable[Float[np.ndarray, "_ 3"]],
    affine: Float[np.ndarray, "4 4"],
    shape: tuple[int, int, int],
) -> Int[np.ndarray, "x y z"]:
    """Count the streamlines that cross each voxel.

    Parameters
    ----------
    streamlines
        Points in RAS world mm, read once.
    affine
        Voxel indices of the map to RAS world mm.
    shape
        Size of the map.

    Returns
    -------
    density
        int32; a streamline counts once in each voxel it crosses, and not outside the map.
    """
    density = np.zeros(shape, dtype=np.int32)
    world_to_vox = np.linalg.inv(affine)
    for streamline in streamlines:
        points = streamline @ world_to_vox[:3, :3].T + world_to_vox[:3, 3]
        voxels = np.rint(_closely_spaced(points)).astype(int)
        inside = np.all((voxels >= 0) & (voxels < shape), axis=1)
        # Indexed addition counts a voxel once however often it is named.
        density[tuple(voxels[inside].T)] += 1
    return density


def _closely_spaced(points: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, "sample 3"]:
    """Put points between the points so that no voxel but a clipped corner is stepped over."""
    steps = np.diff(points, axis=0)
    if not len(steps):
        return points
    n_part = int(np.ceil(4 * np.abs(steps).max()))
    if n_part <= 1:
        return points
    along = np.arange(n_part)[:, None] / n_part
    between = points[:-1, None] + steps[:, None] * along  # (step, part, 3)
    return np.concatenate([between.reshape(-1, 3), points[-1:]])


def _header_text(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return " ".join(text.split())[:_N_HEADER_CHARACTER]


def lengths_mm(
    streamlines: Iterable[Float[np.ndarray, "_ 3"]], *, n_streamline: int | None = None
) -> Float[np.ndarray, " streamline"]:
    """Return the length of each streamline, or of the first few.

    Parameters
    ----------
    streamlines
        Points in mm, read once.
    n_streamline
        Stop after so many.

    Returns
    -------
    lengths
        In mm.

    Examples
    --------
    >>> import numpy as np
    >>> lengths_mm([np.array([[0.0, 0.0, 0.0], [3.0, 4.0, 0.0]])])
    array([5.])
    """
    some = itertools.islice(streamlines, n_streamline)
    return np.array([float(np.linalg.norm(np.diff(s, axis=0), axis=1).sum()) for s in some])
