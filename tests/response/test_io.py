"""Response files: MRtrix3's text, read with care."""

import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shd_bids.errors import ResponseError
from shd_bids.response.io import Response, read_response, write_response

SHELLS = np.array([0.0, 1000.0, 2500.0])
WHITE = np.array([[3500.0, 0, 0], [1900.0, -800.0, 160.0], [1100.0, -810.0, 380.123456]])


def _write(folder: Path, text: str) -> Path:
    file = folder / "wm.txt"
    file.write_text(text)
    return file


def test_a_response_survives_the_round_trip(tmp_path: Path):
    write_response(Response("WM", SHELLS, WHITE), tmp_path / "wm.txt")
    again = read_response(tmp_path / "wm.txt", "WM", SHELLS)
    np.testing.assert_allclose(again.coefficients, WHITE, rtol=1e-9)
    np.testing.assert_array_equal(again.bvals, SHELLS)


def test_the_header_names_the_shells_as_mrtrix3_does(tmp_path: Path):
    write_response(Response("WM", SHELLS, WHITE), tmp_path / "wm.txt")
    assert (tmp_path / "wm.txt").read_text().startswith("# Shells: 0,1000,2500\n")


@pytest.mark.needs_tool("shconv")
def test_mrtrix3_convolves_with_our_text_as_we_do(tmp_path: Path):
    write_response(Response("WM", SHELLS, WHITE), tmp_path / "wm.txt")
    fodf = np.zeros((1, 1, 1, 15), dtype=np.float32)
    fodf[..., 0], fodf[..., 4] = 0.28, 0.1
    nib.Nifti1Image(fodf, np.eye(4)).to_filename(tmp_path / "fodf.nii")
    subprocess.run(["shconv", "-quiet", "fodf.nii", "wm.txt", "out.nii"], cwd=tmp_path, check=True)
    convolved = nib.load(tmp_path / "out.nii").get_fdata().reshape(15, 3).T  # (shell, coef)
    np.testing.assert_allclose(convolved[:, 0], 0.28 * np.sqrt(4 * np.pi) * WHITE[:, 0], rtol=1e-5)
    expected = 0.1 * np.sqrt(4 * np.pi / 5) * WHITE[:, 1]
    np.testing.assert_allclose(convolved[:, 4], expected, rtol=1e-5, atol=1e-5)


def test_short_rows_are_filled_with_zeros(tmp_path: Path):
    file = _write(tmp_path, "3500\n1900 -800\n1100 -810 380\n")
    assert read_response(file, "WM", SHELLS).coefficients.tolist()[:2] == [
        [3500.0, 0.0, 0.0],
        [1900.0, -800.0, 0.0],
    ]


def test_a_wrong_number_of_rows_is_refused_with_both_counts(tmp_path: Path):
    file = _write(tmp_path, "3500\n1900 -800\n")
    with pytest.raises(ResponseError, match=r"wm\.txt holds 2 rows.*have 3 shells \(b = 0, 1000"):
        read_response(file, "WM", SHELLS)


def test_named_shells_are_matched_and_spare_ones_left_out(tmp_path: Path):
    text = "# Shells: 0,700,995,2490\n3500\n2500 -500\n1900 -800\n1100 -810\n"
    found = read_response(_write(tmp_path, text), "WM", SHELLS)
    np.testing.assert_array_equal(found.coefficients[:, 0], [3500.0, 1900.0, 1100.0])


def test_named_shells_that_the_data_lack_are_refused(tmp_path: Path):
    file = _write(tmp_path, "# Shells: 0,700,2800\n3500\n1900 -800\n1100 -810\n")
    with pytest.raises(ResponseError, match="none matches b = 1000, 2500"):
        read_response(file, "WM", SHELLS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3500\nnan -800\n1100 -810\n", "NaN"),
        ("0\n1900 -800\n1100 -810\n", "positive number for b=0"),
        ("3500\n-1900 -800\n1100 -810\n", "none below zero"),
        ("", "holds no numbers"),
        ("<html>\n", "is not a response"),
    ],
)
def test_unusable_files_are_refused_by_name(tmp_path: Path, text: str, words: str):
    with pytest.raises(ResponseError, match=rf"wm\.txt.*{words}"):
        read_response(_write(tmp_path, text), "WM", SHELLS)


def test_a_missing_file_is_refused_by_name(tmp_path: Path):
    with pytest.raises(ResponseError, match=r"wm\.txt cannot be read"):
        read_response(tmp_path / "wm.txt", "WM", SHELLS)


def test_an_unknown_tissue_is_refused(tmp_path: Path):
    with pytest.raises(ResponseError, match="unknown tissue 'BONE'"):
        read_response(_write(tmp_path, "1\n1\n1\n"), "BONE", SHELLS)


def test_isotropic_tissues_keep_only_their_mean(tmp_path: Path):
    file = _write(tmp_path, "3500 0\n1900 -8\n1100 -8\n")
    assert read_response(file, "GM", SHELLS).coefficients.shape == (3, 1)
