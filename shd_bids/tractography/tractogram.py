"""Streamlines on disk: written and read many at a time, so that memory does not grow with them."""

import itertools
import logging
import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Float
from nibabel.streamlines import LazyTractogram, TckFile
from nibabel.streamlines.tractogram_file import DataError, HeaderError

from shd_bids.errors import TrackingError

from .grid import Grid
from .streamlines import Streamlines
from .trk import write_trk
from .trx import read_trx, write_trx

LOGGER = logging.getLogger(__name__)

_N_HEADER_CHARACTER = 200
_WRITTEN = (".trk", ".trx")
READABLE = (".tck", *_WRITTEN)


def write_tck(
    batches: Iterable[Streamlines], file: Path, *, settings: Mapping[str, object] | None = None
) -> int:
    """Write streamlines as they come in MRtrix3's format, under a temporary name until complete.

    Parameters
    ----------
    batches
        In RAS world mm; read once, so that it may track as it goes.
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

    def one_by_one() -> Iterator[np.ndarray]:
        nonlocal n_streamline
        for batch in batches:
            n_streamline += len(batch)
            yield from batch

    header = {name: _header_text(value) for name, value in (settings or {}).items()}
    with _complete(file) as partial:
        tractogram = LazyTractogram(streamlines=one_by_one, affine_to_rasmm=np.eye(4))
        TckFile(tractogram, header=header).save(partial)
    _warn_of_none(n_streamline, file)
    return n_streamline


def read_batches(file: Path, *, n_streamline: int = 5_000) -> Iterator[Streamlines]:
    """Read streamlines many at a time.

    Parameters
    ----------
    file
        Ends in ``.tck``, ``.trx`` or ``.trk``.
    n_streamline
        How many at a time; the last batch may have fewer.

    Returns
    -------
    batches
        In the order of the file, points in RAS world mm.

    Raises
    ------
    TrackingError
        The file is of another kind, or broken.
    """
    kind = file.suffix.lower()
    if kind not in READABLE:
        raise TrackingError(
            f"{file.name} is no tractogram that can be read: its name ends in none of "
            f"{', '.join(READABLE)}. Convert it to one of them."
        )
    if kind == ".trx":
        yield from read_trx(file, n_streamline)
        return
    try:
        lines = iter(nib.streamlines.load(file, lazy_load=True).streamlines)
        while len(batch := Streamlines.of(itertools.islice(lines, n_streamline))):
            yield batch
    except (DataError, HeaderError, TypeError, ValueError, struct.error) as error:
        raise TrackingError(
            f"{file.name} cannot be read as {kind[1:].upper()} ({error}). Check that it "
            "was copied to its end, and with tckinfo or trk_info what it holds."
        ) from error


def convert(
    file: Path,
    out_file: Path,
    grid: Grid,
    *,
    weights: Float[np.ndarray, " streamline"] | None = None,
) -> int:
    """Write a tractogram in another format, under a temporary name until complete.

    Parameters
    ----------
    file
        Tractogram; read twice, some streamlines at a time.
    out_file
        Ends in ``.trx`` or ``.trk``; replaced when it exists.
    grid
        Voxels of the series that was tracked: both formats keep them beside the streamlines.
    weights
        Of each streamline in the order of `file`; kept under the name `weight`.

    Returns
    -------
    n_streamline
        Number written; none is a valid file.

    Raises
    ------
    TrackingError
        The format is unknown, or there is not one weight for each streamline.
    """
    if out_file.suffix not in _WRITTEN:
        raise TrackingError(
            f"A tractogram cannot be written as {out_file.name}. "
            f"Choose a name that ends in one of {', '.join(_WRITTEN)}."
        )
    counted = [(len(batch), len(batch.points)) for batch in read_batches(file)]
    n_streamline, n_point = np.array([(0, 0), *counted]).sum(axis=0).tolist()
    if weights is not None and len(weights) != n_streamline:
        raise TrackingError(
            f"There are {len(weights)} weights, but {n_streamline} streamlines in {file.name}. "
            "Give the weights that were made from this very file."
        )
    with _complete(out_file) as partial:
        if out_file.suffix == ".trx":
            write_trx(read_batches(file), partial, grid, (n_streamline, n_point), weights=weights)
        else:
            write_trk(read_batches(file), partial, grid, weights=weights)
    _warn_of_none(n_streamline, out_file)
    return n_streamline


@contextmanager
def _complete(file: Path) -> Iterator[Path]:
    """Give a file its name when it is whole; leave nothing if it never is."""
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.stem}-") as folder:
        partial = Path(folder) / file.name
        yield partial
        partial.replace(file)


def _warn_of_none(n_streamline: int, file: Path) -> None:
    if n_streamline == 0:
        LOGGER.warning("No streamline was found: %s is empty.", file.name)


def _header_text(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return " ".join(text.split())[:_N_HEADER_CHARACTER]
