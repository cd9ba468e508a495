"""NIfTI files of any content, and what the standard says that they hold."""

import gzip
import math
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from fuzz.common import Attempt, open_participant, settings_of
from fuzz.damage import AFFINE, series
from fuzz.strategies import (
    mutated_bytes,
)
from hypothesis import strategies as st
from shd_workflows.plan import plan_series
from shd_workflows.sources import open_source

from shd_bids.dwi.images import load_dwi

_HEADER = nib.Nifti1Header.template_dtype
_CODES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
_CODES |= {1024: "i8", 1280: "u8"}


def _good_nifti() -> bytes:
    return nib.Nifti1Image(series(), AFFINE).to_bytes()


@st.composite
def images(draw: Any) -> tuple[bytes, bool]:
    """Change fields of the header, or bytes anywhere, and pack it or not."""
    content = _good_nifti()
    if draw(st.booleans()):
        header = np.frombuffer(content[:348], _HEADER, 1).copy()
        for name in draw(st.lists(st.sampled_from(_HEADER.names), min_size=1, max_size=3)):
            field = header[name][0]
            if field.dtype.kind == "S":
                header[name][0] = draw(st.binary(max_size=field.dtype.itemsize))
                continue
            size = field.dtype.itemsize
            many = np.array(field, copy=True).reshape(-1)
            for at in draw(st.lists(st.integers(0, many.size - 1), min_size=1, max_size=2)):
                many[at] = np.frombuffer(draw(_raw_values(field.dtype, size)), field.dtype)[0]
            header[name][0] = many.reshape(field.shape) if field.shape else many[0]
        content = header.tobytes() + content[348:]
        if draw(st.integers(0, 9)) == 0:
            content = content[: draw(st.integers(0, len(content)))]
    else:
        head = draw(mutated_bytes(content[:400]))
        content = head + content[400:]
    packed = draw(st.booleans())
    if packed:
        content = gzip.compress(content, 1, mtime=0)
        if draw(st.integers(0, 3)) == 0:
            content = draw(mutated_bytes(content))
    return content, packed


def _raw_values(dtype: np.dtype, size: int) -> st.SearchStrategy[bytes]:
    odd = [0, 1, -1, 2, 3, 7, 8, 13, 32767, -32768, 348, 352, 540]
    if dtype.kind == "f":
        odd += [math.nan, math.inf, -math.inf, 1e30, 1e-30, 0.5, 1e9, -352]
        return st.one_of(
            st.sampled_from([np.array(one, dtype).tobytes() for one in odd]),
            st.binary(min_size=size, max_size=size),
        )
    return st.one_of(
        st.sampled_from([np.array(one).astype(dtype).tobytes() for one in odd]),
        st.binary(min_size=size, max_size=size),
    )


def _unpacked(content: bytes, packed: bool) -> bytes:
    return gzip.decompress(content) if packed else content


def _read_nifti(content: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a NIfTI-1 file by the standard's table of fields alone."""
    order = "<" if 1 <= struct.unpack_from("<h", content, 40)[0] <= 7 else ">"
    dim = struct.unpack_from(f"{order}8h", content, 40)
    shape = dim[1 : 1 + dim[0]]
    (datatype,) = struct.unpack_from(f"{order}h", content, 70)
    offset, slope, inter = struct.unpack_from(f"{order}3f", content, 108)
    dtype = np.dtype(order + _CODES[datatype])
    stored = np.frombuffer(content, dtype, math.prod(shape), int(offset))
    data = stored.reshape(shape, order="F").astype(np.float64)
    if slope not in (0.0,) and np.isfinite(slope):
        data = data * slope + inter
    qform_code, sform_code = struct.unpack_from(f"{order}2h", content, 252)
    if sform_code > 0:
        rows = np.array(struct.unpack_from(f"{order}12f", content, 280)).reshape(3, 4)
        return data, np.vstack([rows, [0, 0, 0, 1]])
    if qform_code <= 0:
        return data, None
    pixdim = struct.unpack_from(f"{order}8f", content, 76)
    b, c, d, x, y, z = struct.unpack_from(f"{order}6f", content, 256)
    a = math.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * b * c - 2 * a * d, 2 * b * d + 2 * a * c],
            [2 * b * c + 2 * a * d, a * a + c * c - b * b - d * d, 2 * c * d - 2 * a * b],
            [2 * b * d - 2 * a * c, 2 * c * d + 2 * a * b, a * a + d * d - c * c - b * b],
        ]
    )
    edges = np.abs(pixdim[1:4]) * [1, 1, -1 if pixdim[0] == -1 else 1]
    affine = np.eye(4)
    affine[:3, :3] = turn * edges
    affine[:3, 3] = x, y, z
    return data, affine


def prepare_images(folder: Path) -> Attempt:
    one, _ = open_participant(folder)
    plain, packed_file = one.path(".nii"), one.dwi
    plain.write_bytes(_good_nifti())
    packed_file.unlink()
    config = settings_of(folder / "bids")
    sources = {False: open_source(config, ["01"])}
    plain.unlink()
    packed_file.write_bytes(gzip.compress(_good_nifti()))
    sources[True] = open_source(config, ["01"])

    def attempt(case: tuple[bytes, bool]) -> None:
        content, packed = case
        file = packed_file if packed else plain
        file.write_bytes(content)
        try:
            (found,) = sources[packed].series_of("01", config, {})
            planned = plan_series(found, config)
            image = load_dwi(file)
        finally:
            file.unlink()
        data, affine = _read_nifti(_unpacked(content, packed))
        assert planned.shape == data.shape
        got = np.asarray(image.dataobj)
        scale = np.abs(data).max()
        np.testing.assert_allclose(got, np.maximum(data, 0), rtol=1e-5, atol=1e-5 * scale)
        if affine is not None:
            np.testing.assert_allclose(image.affine, affine, rtol=1e-3, atol=1e-3)

    return attempt
