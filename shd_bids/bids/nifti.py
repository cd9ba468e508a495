"""NIfTI files at the border: opened and read, or refused in words.

What a header claims is compared with what the file can hold before anything is allocated for it.
"""

import logging
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from jaxtyping import Float
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from shd_bids.bids.files import gzip_trailer, say_missing
from shd_bids.errors import ImageError

LOGGER = logging.getLogger(__name__)

UNREADABLE = (
    EOFError,
    OSError,
    OverflowError,
    ValueError,
    MemoryError,
    zlib.error,
    ImageFileError,
    HeaderDataError,
    WrapStructError,
)
"""What nibabel raises for a file that is not what it seems."""

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WBITS = 31  # zlib: with gzip's header and checksum
_MOST_DENSE = 1032  # bytes that one byte of deflate can stand for
_CHUNK = 1 << 20
_VOXEL_MM = (0.005, 50.0)
_FORM_CODES = range(6)
_UNITS = {1: "metres", 3: "micrometres"}  # of `xyzt_units`, beside the usual mm


def open_image(file: Path) -> nib.Nifti1Image:
    """Open a NIfTI file and check its header, orientation and size; the voxels stay on disk.

    Parameters
    ----------
    file
        NIfTI of any dimension.

    Returns
    -------
    nib.Nifti1Image
        With plain numbers as voxels and a usable affine.

    Raises
    ------
    ImageError
        If the file is missing, empty, truncated or not NIfTI, or its orientation is unusable.
    """
    _check_there(file)
    try:
        image = nib.load(file)
        if not isinstance(image, nib.Nifti1Image):  # NIfTI-2 is a subclass
            raise ImageError(f"{file.name} is {type(image).__name__}; expected NIfTI.")
        with ImageOpener(str(file)) as stream:  # nibabel forgets the scaling of the header it gives
            header = type(image.header).from_fileobj(stream, check=False)
    except UNREADABLE as error:
        raise ImageError(f"{file.name} cannot be read as NIfTI: {_words(error)}.") from error
    if not image.shape or min(image.shape) <= 0:
        raise ImageError(f"{file.name} holds no voxels: its shape is {image.shape}.")
    if image.get_data_dtype().kind not in "iuf":
        raise ImageError(
            f"{file.name} holds data of type {image.get_data_dtype()}; expected magnitudes as "
            "integers or floats."
        )
    if np.isinf([header["scl_slope"], header["scl_inter"]]).any():
        raise ImageError(
            f"The slope and intercept of {file.name} are {float(header['scl_slope']):g} and "
            f"{float(header['scl_inter']):g}; expected finite numbers. Convert it again."
        )
    for form in ("qform", "sform"):
        code = int(header[f"{form}_code"])
        if code not in _FORM_CODES:  # nibabel makes it 0, others believe the matrix
            raise ImageError(
                f"The {form} code of {file.name} is {code}; expected 0 to 5, as the NIfTI standard "
                f"has it. Set it to 1 if the {form} is right, or to 0 if it is not to be used."
            )
    _check_orientation(image, file)
    _check_size(image, file)
    return image


def read_data(image: nib.Nifti1Image, file: Path) -> Float[np.ndarray, "..."]:
    """Read the voxels as 32-bit floats and refuse NaN and infinity.

    Parameters
    ----------
    image
        As opened by `open_image`.
    file
        Its file, for the message.

    Returns
    -------
    Float[np.ndarray, "..."]
        Scaled values in C order.

    Raises
    ------
    ImageError
        If the file is truncated, differs from its checksum, or holds not only finite numbers.
    """
    if file.suffix == ".gz":
        check_packing(file)
    try:
        data = image.get_fdata(dtype=np.float32, caching="unchanged")
    except UNREADABLE as error:
        raise ImageError(
            f"{file.name} is truncated or damaged: {error}. Copy or convert it again."
        ) from error
    data = np.ascontiguousarray(data)
    n_bad = data.size - int(np.isfinite(data).sum())
    if n_bad:
        raise ImageError(
            f"{file.name} holds {n_bad} values that are NaN or infinite ({n_bad / data.size:.2%}); "
            "expected finite ones. Replace them, by 0 outside the head."
        )
    return data


def check_packing(file: Path) -> int:
    """Unpack a gzip file without keeping its content, and compare it with its checksum.

    Readers stop when they have all voxels and do not come to the checksum at the end.

    Parameters
    ----------
    file
        Packed in one or more pieces; what follows the last one is passed over, as by gunzip.

    Returns
    -------
    int
        Number of bytes of the content.

    Raises
    ------
    ImageError
        If it ends too early or differs from its checksum.
    """
    try:
        return sum(_unpacked_sizes(file))
    except (zlib.error, EOFError, OSError) as error:
        raise ImageError(
            f"{file.name} is truncated or damaged: {_words(error)}. Copy or convert it again."
        ) from error


def _check_there(file: Path) -> None:
    if not file.exists():
        raise ImageError(f"{say_missing(file)}.")
    if not file.is_file():
        raise ImageError(f"{file} is a folder; expected a NIfTI file.")
    if file.stat().st_size == 0:
        raise ImageError(f"{file.name} has zero bytes. Was the disk full when it was written?")


def _check_size(image: nib.Nifti1Image, file: Path) -> None:
    """Refuse a file that cannot hold the voxels that its header counts."""
    n_voxel = 1
    for length in image.shape:
        n_voxel *= int(length)  # as whole numbers: NumPy's would overflow
    offset = int(cast(ArrayProxy, image.dataobj).offset)
    wanted = offset + n_voxel * image.get_data_dtype().itemsize
    stored = file.stat().st_size
    if file.suffix != ".gz":
        found = stored
    elif wanted > _MOST_DENSE * stored + _CHUNK:
        found = _MOST_DENSE * stored
    else:
        trailer = gzip_trailer(file)
        # the size at the end is of the last piece, modulo 2^32: if it fits, it is believed
        if trailer is not None and trailer[1] == wanted % 2**32:
            return
        found = check_packing(file)
    if found < wanted:
        shape = " x ".join(map(str, image.shape))
        raise ImageError(
            f"{file.name} is truncated: {shape} voxels of type {image.get_data_dtype()} from byte "
            f"{offset} on are {wanted} bytes, but the file holds "
            f"{'at most ' if found != stored and found == _MOST_DENSE * stored else ''}{found}; "
            "expected all of them. Copy or convert it again."
        )


def _unpacked_sizes(file: Path) -> Iterator[int]:
    """Give the sizes of successive parts of a gzip file's content."""
    with file.open("rb") as stream:
        packed, n_piece = stream.read(_CHUNK), 0
        while packed.startswith(_GZIP_MAGIC) or n_piece == 0:
            piece, n_piece = zlib.decompressobj(_GZIP_WBITS), n_piece + 1
            while not piece.eof:
                if not packed and not (packed := stream.read(_CHUNK)):
                    raise EOFError("it ends before its last byte")
                yield len(piece.decompress(packed, _CHUNK))
                packed = piece.unconsumed_tail
            packed = piece.unused_data
            if len(packed) < len(_GZIP_MAGIC):
                packed += stream.read(_CHUNK)
        if packed.strip(b"\0"):
            LOGGER.debug("%s: what follows the packed content is passed over.", file.name)


def _words(error: BaseException) -> str:
    """Give a library's message as part of a sentence."""
    if isinstance(error, MemoryError):
        return "its header asks for more memory than there is"
    return (str(error) or type(error).__name__).replace("\n", " ").rstrip(". ")[:300]


def _check_orientation(image: nib.Nifti1Image, file: Path) -> None:
    affine = image.affine
    linear = affine[:3, :3]
    if not np.isfinite(affine).all() or not _invertible(linear):
        raise ImageError(
            f"The affine of {file.name} is zero or singular:\n{np.round(affine, 4)}\nExpected "
            "three independent axes. Repair the header's sform and qform from the scanner's data."
        )
    header = image.header
    voxel_mm = np.linalg.norm(linear, axis=0)
    if voxel_mm.min() < _VOXEL_MM[0] or voxel_mm.max() > _VOXEL_MM[1]:
        unit = _UNITS.get(int(header["xyzt_units"]) & 7)
        told = f" Its header says that they are {unit}." if unit else ""
        raise ImageError(
            f"{file.name} has voxels of {' x '.join(f'{edge:.4g}' for edge in voxel_mm)} mm; "
            f"expected {_VOXEL_MM[0]:g} to {_VOXEL_MM[1]:g} mm.{told} Write the affine in mm."
        )
    if not (header["qform_code"] > 0 or header["sform_code"] > 0):
        LOGGER.warning(
            "%s states no orientation (qform and sform codes are 0): left and right are a guess.",
            file.name,
        )
    if not (header["qform_code"] > 0 and header["sform_code"] > 0):
        return
    size = np.array(image.shape[:3] + (1,) * (3 - len(image.shape)))
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in size], indexing="ij")).reshape(3, -1)
    apart = (header.get_sform() - _qform(image, file)) @ np.vstack([corners, np.ones(8)])
    distance_mm = float(np.linalg.norm(apart[:3], axis=0).max())
    if not distance_mm <= voxel_mm.min() / 2:
        raise ImageError(
            f"The sform and qform of {file.name} disagree by up to {distance_mm:.1f} mm (voxels of "
            f"{voxel_mm.min():.2g} mm): gradients would turn with the wrong one. Copy the right "
            "one over the other, or set the wrong one's code to 0."
        )


def _qform(image: nib.Nifti1Image, file: Path) -> Float[np.ndarray, "4 4"]:
    try:
        qform: Float[np.ndarray, "4 4"] = image.header.get_qform()
    except UNREADABLE as error:
        raise ImageError(
            f"The qform of {file.name} is no rotation: {_words(error)}. Set its code to 0 if the "
            "sform is right."
        ) from error
    return qform


def _invertible(linear: Float[np.ndarray, "3 3"]) -> bool:
    lengths = np.linalg.norm(linear, axis=0)
    if not np.all(lengths >= 1e-6) or not np.isfinite(lengths).all():
        return False
    return abs(float(np.linalg.det(linear / lengths))) > 1e-3
