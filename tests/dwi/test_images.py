"""Diffusion images are read from any sound NIfTI file; all others are refused in words."""

import gzip
import logging
import struct

import nibabel as nib
import numpy as np
import pytest

from shd_bids.bids.nifti import open_image
from shd_bids.dwi.images import load_dwi
from shd_bids.errors import ImageError


@pytest.fixture
def signal() -> np.ndarray:
    return np.random.default_rng(0).uniform(10, 1000, (5, 6, 7, 8)).astype(np.float32)


def test_floats_come_back_as_they_were(signal, write_scan, affine):
    image = load_dwi(write_scan(signal, affine, "dwi.nii.gz"))
    np.testing.assert_array_equal(np.asarray(image.dataobj), signal)
    np.testing.assert_allclose(image.affine, affine)
    assert image.get_data_dtype() == np.float32


def test_scaled_integers_come_back_scaled(signal, tmp_path):
    image = nib.Nifti1Image(np.round(signal).astype(np.int16), np.eye(4))
    image.header.set_slope_inter(0.5, 3.0)
    nib.save(image, tmp_path / "dwi.nii")
    raw = np.asarray(nib.load(tmp_path / "dwi.nii").dataobj)
    np.testing.assert_allclose(np.asarray(load_dwi(tmp_path / "dwi.nii").dataobj), raw, rtol=1e-6)


def test_big_endian_files_read_the_same(signal, tmp_path):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.dtype(">f4"))
    nib.save(nib.Nifti1Image(signal.astype(">f4"), np.eye(4), header), tmp_path / "dwi.nii")
    assert (tmp_path / "dwi.nii").read_bytes()[:4] == b"\x00\x00\x01\x5c"
    np.testing.assert_array_equal(np.asarray(load_dwi(tmp_path / "dwi.nii").dataobj), signal)


def test_slightly_negative_values_become_zero(signal, write_scan, caplog):
    signal[0, 0, 0, 0] = -3
    with caplog.at_level(logging.WARNING):
        data = np.asarray(load_dwi(write_scan(signal)).dataobj)
    assert data[0, 0, 0, 0] == 0
    np.testing.assert_array_equal(data[1:], signal[1:])
    assert "1 values of dwi.nii" in caplog.text


def test_a_phase_image_is_refused(signal, write_scan):
    with pytest.raises(ImageError, match=r"of the values of dwi.nii are negative.*phase image"):
        load_dwi(write_scan(signal - 500))


def test_a_3d_image_is_refused(signal, write_scan):
    with pytest.raises(ImageError, match=r"dwi.nii is 3-D .* expected a 4-D series"):
        load_dwi(write_scan(signal[..., 0]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(signal, write_scan, bad):
    signal[1, 2, 3, 4] = bad
    with pytest.raises(ImageError, match=r"dwi.nii holds 1 values that are NaN or infinite"):
        load_dwi(write_scan(signal))


def test_a_constant_image_is_refused(signal, write_scan):
    with pytest.raises(ImageError, match=r"Every voxel of dwi.nii is 7"):
        load_dwi(write_scan(np.full_like(signal, 7)))


def test_a_complex_image_is_refused(signal, write_scan):
    with pytest.raises(ImageError, match=r"data of type complex64; expected magnitudes"):
        load_dwi(write_scan(signal.astype(np.complex64)))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"There is no file .*dwi\.nii"):
        load_dwi(tmp_path / "dwi.nii")


def test_a_file_of_zero_bytes_is_refused(tmp_path):
    (tmp_path / "dwi.nii.gz").touch()
    with pytest.raises(ImageError, match=r"dwi.nii.gz has zero bytes"):
        load_dwi(tmp_path / "dwi.nii.gz")


def test_a_header_that_promises_a_terabyte_takes_no_memory(tmp_path):
    header = nib.Nifti2Header()
    header.set_data_shape((10_000, 10_000, 1000, 5))
    header.set_data_dtype(np.int16)
    file = tmp_path / "dwi.nii.gz"
    file.write_bytes(gzip.compress(header.binaryblock + bytes(1000)))
    with pytest.raises(ImageError, match=r"is truncated: .* but the file holds at most \d+"):
        open_image(file)


def test_an_image_of_zeros_is_as_small_as_a_file_can_be(tmp_path):
    nib.Nifti1Image(np.zeros((99, 99, 99, 9), np.uint8), np.eye(4)).to_filename(
        tmp_path / "a.nii.gz"
    )
    assert open_image(tmp_path / "a.nii.gz").shape == (99, 99, 99, 9)


@pytest.mark.parametrize("name", ["dwi.nii", "dwi.nii.gz"])
def test_a_truncated_file_is_refused(signal, write_scan, name):
    file = write_scan(signal, name=name)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ImageError, match=rf"{name} is truncated"):
        load_dwi(file)


def test_a_file_that_is_no_image_is_refused(tmp_path):
    (tmp_path / "dwi.nii.gz").write_bytes(gzip.compress(b"not an image" * 100))
    with pytest.raises(ImageError, match=r"dwi.nii.gz cannot be read as NIfTI"):
        load_dwi(tmp_path / "dwi.nii.gz")


@pytest.mark.parametrize("diagonal", [[0.0, 0, 0, 1], [2.0, 2, 0, 1]])
def test_a_singular_affine_is_refused(signal, tmp_path, diagonal):
    image = nib.Nifti1Image(signal, None)
    image.header.set_sform(np.diag(diagonal), code=1)
    image.header["sform_code"] = 1
    nib.Nifti1Image(signal, np.diag(diagonal), image.header).to_filename(tmp_path / "dwi.nii")
    with pytest.raises(ImageError, match=r"affine of dwi.nii is zero or singular"):
        load_dwi(tmp_path / "dwi.nii")


@pytest.mark.parametrize("code", [-1, 6])
@pytest.mark.parametrize("form", ["qform", "sform"])
def test_an_orientation_of_unknown_code_is_not_passed_over(signal, tmp_path, form, code):
    """Nibabel would take the code for 0 and guess, where MRtrix3 believes the matrix."""
    image = nib.Nifti1Image(signal, np.diag([-2.0, 2, 2, 1]))
    content = bytearray(image.to_bytes())
    struct.pack_into("<h", content, {"qform": 252, "sform": 254}[form], code)
    (tmp_path / "dwi.nii").write_bytes(content)
    with pytest.raises(ImageError, match=rf"{form} code of dwi.nii is {code}; expected 0 to 5"):
        load_dwi(tmp_path / "dwi.nii")


def test_orientations_that_disagree_are_refused(signal, tmp_path):
    image = nib.Nifti1Image(signal, np.diag([-2.0, 2, 2, 1]))
    image.set_qform(np.diag([2.0, 2, 2, 1]), code=1)
    nib.save(image, tmp_path / "dwi.nii")
    with pytest.raises(ImageError, match=r"sform and qform of dwi.nii disagree by up to 16.0 mm"):
        load_dwi(tmp_path / "dwi.nii")
