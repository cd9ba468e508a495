"""Gradient tables agree with MRtrix3 on every orientation, and bad ones are refused in words."""

import logging
import subprocess
from pathlib import Path

import numpy as np
import pytest

from shd_bids.dwi.gradients import (
    GradientTable,
    check_gradients,
    check_volume_count,
    concatenate_gradients,
    read_fsl_gradients,
    read_image_axes_gradients,
    read_mrtrix_gradients,
    write_fsl_gradients,
    write_mrtrix_gradients,
)
from shd_bids.errors import GradientTableError

BVALS = np.array([0.0] + [1000.0] * 6 + [2000.0] * 6)


@pytest.fixture
def table(directions: np.ndarray) -> GradientTable:
    return GradientTable(BVALS, np.vstack([np.zeros(3), directions]))


@pytest.fixture
def write_files(tmp_path: Path):
    def write(bval_text: str, bvec_text: str) -> tuple[Path, Path]:
        files = tmp_path / "dwi.bval", tmp_path / "dwi.bvec"
        for file, text in zip(files, (bval_text, bvec_text), strict=True):
            file.write_text(text)
        return files

    return write


def as_text(rows: np.ndarray) -> str:
    return "\n".join(" ".join(f"{number:.9g}" for number in row) for row in np.atleast_2d(rows))


@pytest.mark.needs_tool("mrinfo")
def test_mrtrix_reads_the_same_directions(table, affine, tmp_path, write_scan):
    bval_file, bvec_file = tmp_path / "dwi.bval", tmp_path / "dwi.bvec"
    write_fsl_gradients(table, affine, bval_file, bvec_file)
    image_file = write_scan(np.ones((3, 4, 5, 13), np.float32), affine)
    command = ["mrinfo", "-dwgrad", "-fslgrad", str(bvec_file), str(bval_file), str(image_file)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    theirs = np.array([line.split() for line in output.splitlines()], dtype=float)
    ours = read_fsl_gradients(bval_file, bvec_file, affine)
    np.testing.assert_allclose(ours.bvecs_ras, theirs[:, :3], atol=1e-6)
    np.testing.assert_allclose(ours.bvals, theirs[:, 3], atol=1e-3)


def along_image_axes(table: GradientTable, affine: np.ndarray) -> np.ndarray:
    """Give the rows of the `.bvec` that QSIPrep would write."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return np.linalg.solve(axes, table.bvecs_ras.T)


@pytest.mark.needs_tool("mrinfo")
def test_all_three_kinds_of_file_say_what_mrtrix_reads(table, affine, tmp_path, write_scan):
    fsl = tmp_path / "fsl.bval", tmp_path / "fsl.bvec"
    write_fsl_gradients(table, affine, *fsl)
    write_mrtrix_gradients(table, tmp_path / "dwi.b")
    np.savetxt(tmp_path / "axes.bvec", along_image_axes(table, affine), fmt="%.8f")
    image_file = str(write_scan(np.ones((3, 4, 5, 13), np.float32), affine))
    for source in (["-grad", str(tmp_path / "dwi.b")], ["-fslgrad", str(fsl[1]), str(fsl[0])]):
        command = ["mrinfo", "-dwgrad", *source, image_file]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        theirs = np.array([line.split() for line in output.splitlines()], dtype=float)
        ours = (
            read_fsl_gradients(*fsl, affine),
            read_mrtrix_gradients(tmp_path / "dwi.b"),
            read_image_axes_gradients(fsl[0], tmp_path / "axes.bvec", affine),
        )
        for one in ours:
            np.testing.assert_allclose(one.bvecs_ras, theirs[:, :3], atol=1e-6)
            np.testing.assert_allclose(one.bvals, theirs[:, 3], atol=1e-3)


def test_image_axes_of_an_lps_image_are_left_and_posterior(table, write_files):
    bvals, bvecs = as_text(table.bvals), as_text(table.bvecs_ras.T)
    lps = read_image_axes_gradients(*write_files(bvals, bvecs), np.diag([-2.0, -2, 2, 1]))
    np.testing.assert_allclose(lps.bvecs_ras, table.bvecs_ras * [-1, -1, 1], atol=1e-8)


@pytest.mark.needs_tool("mrinfo")
@pytest.mark.parametrize("name", ["nlsam-invivo-1p8mm", "mrtrix3-msmt-crop", "tractor-12dir"])
def test_mrtrix_reads_real_files_the_same(name, shared_data):
    import nibabel as nib

    stem = shared_data / name / "sub-01" / "dwi" / "sub-01_dwi"
    files = [stem.with_suffix(suffix) for suffix in (".bvec", ".bval", ".nii.gz")]
    command = ["mrinfo", "-dwgrad", "-fslgrad", *map(str, files)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    theirs = np.array([line.split() for line in output.splitlines()], dtype=float)
    ours = read_fsl_gradients(files[1], files[0], nib.load(files[2]).affine)
    np.testing.assert_allclose(ours.bvecs_ras, theirs[:, :3], atol=1e-4)
    np.testing.assert_allclose(ours.bvals, theirs[:, 3], rtol=1e-3)


def test_writing_and_reading_fsl_files_is_the_identity(table, affine, tmp_path):
    bval_file, bvec_file = tmp_path / "dwi.bval", tmp_path / "dwi.bvec"
    write_fsl_gradients(table, affine, bval_file, bvec_file)
    again = read_fsl_gradients(bval_file, bvec_file, affine)
    np.testing.assert_allclose(again.bvecs_ras, table.bvecs_ras, atol=1e-9)
    np.testing.assert_array_equal(again.bvals, table.bvals)


def test_writing_and_reading_mrtrix_files_is_the_identity(table, tmp_path):
    write_mrtrix_gradients(table, tmp_path / "dwi.b")
    again = read_mrtrix_gradients(tmp_path / "dwi.b")
    np.testing.assert_allclose(again.bvecs_ras, table.bvecs_ras, atol=1e-9)
    np.testing.assert_array_equal(again.bvals, table.bvals)


def test_fsl_x_is_mirrored_only_where_the_determinant_is_positive(write_files):
    files = write_files("0 1000", "0 1\n0 0\n0 0")
    right_handed = read_fsl_gradients(*files, np.diag([2.0, 2, 2, 1]))
    left_handed = read_fsl_gradients(*files, np.diag([-2.0, 2, 2, 1]))
    np.testing.assert_array_equal(right_handed.bvecs_ras[1], [-1, 0, 0])
    np.testing.assert_array_equal(left_handed.bvecs_ras[1], [-1, 0, 0])


def test_a_transposed_table_is_the_same_table(directions, write_files):
    upright = read_fsl_gradients(*write_files(as_text(BVALS[1:]), as_text(directions.T)), np.eye(4))
    lying = read_fsl_gradients(
        *write_files(as_text(BVALS[1:, None]), as_text(directions)), np.eye(4)
    )
    np.testing.assert_allclose(upright.bvecs_ras, lying.bvecs_ras)
    np.testing.assert_array_equal(upright.bvals, lying.bvals)


def test_short_vectors_scale_the_b_value(directions, write_files, caplog):
    scaled = directions * np.where(np.arange(12) < 6, np.sqrt(0.5), 1.0)[:, None]
    files = write_files(as_text(np.full(12, 2000.0)), as_text(scaled.T))
    with caplog.at_level(logging.WARNING):
        table = read_fsl_gradients(*files, np.eye(4))
    np.testing.assert_allclose(table.bvals, [1000.0] * 6 + [2000.0] * 6, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(table.bvecs_ras, axis=1), 1)
    assert "multiplied by the squared length" in caplog.text


def test_vectors_that_repeat_the_b_value_leave_it_alone(directions, write_files, caplog):
    bvals = np.linspace(500, 4000, 12)
    files = write_files(as_text(bvals), as_text((directions * np.sqrt(bvals / 4000)[:, None]).T))
    with caplog.at_level(logging.WARNING):
        table = read_fsl_gradients(*files, np.eye(4))
    np.testing.assert_allclose(table.bvals, bvals, rtol=1e-6)
    assert "b-values kept" in caplog.text


def test_concatenation_keeps_the_order_of_the_runs(table):
    both = concatenate_gradients([table, table])
    assert both.n_volume == 2 * table.n_volume
    np.testing.assert_array_equal(both.bvecs_ras[table.n_volume :], table.bvecs_ras)


@pytest.mark.parametrize(
    ("bval_text", "bvec_text", "message"),
    [
        ("0 1000 1000", "0 1\n0 0\n0 0", r"dwi.bval holds 3 b-values, but dwi.bvec has 2 vectors"),
        ("0 1000", "0 nan\n0 0\n0 0", r"dwi.bvec holds 1 entries that are NaN"),
        ("0 1000", "0 1\n0 0", r"dwi.bvec holds 2 rows of 2 numbers; expected 3 rows"),
        ("0 1000", "0 1\n0 0 0\n0 0", r"dwi.bvec has rows of 2 and of 3 numbers"),
        ("0 b1000", "0 1\n0 0\n0 0", r"dwi.bval holds something else than b-values"),
        ("", "0 1\n0 0\n0 0", r"dwi.bval is empty"),
        ("0 -5", "0 1\n0 0\n0 0", r"negative b-value -5"),
        ("0 1000", "0 7\n0 0\n0 0", r"vector of length 7; expected unit"),
    ],
)
def test_bad_files_are_refused_in_words(bval_text, bvec_text, message, write_files):
    with pytest.raises(GradientTableError, match=message):
        read_fsl_gradients(*write_files(bval_text, bvec_text), np.eye(4))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(GradientTableError, match=r"There is no file .*no\.bval"):
        read_fsl_gradients(tmp_path / "no.bval", tmp_path / "no.bvec", np.eye(4))


def check(table: GradientTable) -> None:
    check_gradients(table, b0_threshold=100.0, source="sub-01_dwi.nii.gz")


def test_a_good_table_passes(table):
    check(table)


def test_a_count_that_differs_from_the_image_is_refused(table):
    with pytest.raises(GradientTableError, match=r"13 b-values, but sub-01_dwi.nii.gz has 20"):
        check_volume_count(table, 20, "sub-01_dwi.nii.gz")


def test_a_table_without_b0_is_refused(table):
    with pytest.raises(GradientTableError, match=r"no b=0 volume: its smallest b-value is 500"):
        check(GradientTable(np.maximum(table.bvals, 500), table.bvecs_ras))


def test_one_direction_repeated_is_refused():
    bvecs = np.tile([0.6, 0.8, 0.0], (13, 1)) * np.where(np.arange(13) % 2, 1, -1)[:, None]
    with pytest.raises(GradientTableError, match=r"along 1 distinct directions; at least 6"):
        check(GradientTable(BVALS, bvecs))


def test_five_directions_are_refused(table):
    few = GradientTable(table.bvals[:6], table.bvecs_ras[:6])
    with pytest.raises(GradientTableError, match=r"5 diffusion-weighted volumes along 5 distinct"):
        check(few)


def test_directions_in_a_plane_are_refused():
    angle = np.arange(13) * np.pi / 13
    bvecs = np.stack([np.cos(angle), np.sin(angle), np.zeros(13)], axis=1)
    with pytest.raises(GradientTableError, match=r"all lie on one cone or plane"):
        check(GradientTable(BVALS, bvecs))


def test_a_weighted_volume_without_direction_is_refused(table):
    bvecs = table.bvecs_ras.copy()
    bvecs[4] = 0
    with pytest.raises(GradientTableError, match=r"volume 4 .* has b=1000 but the vector 0 0 0"):
        check(GradientTable(table.bvals, bvecs))
