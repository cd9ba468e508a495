"""Tractograms are complete on disk, and MRtrix3 reads them in the right place."""

import subprocess

import nibabel as nib
import numpy as np
import pytest
from tractography.fodfs import AFFINES, save_image

from shd_bids.tractography.tractogram import (
    density_map,
    lengths_mm,
    read_batches,
    read_tck,
    write_tck,
)

SHAPE = (12, 10, 8)


def _walks(affine: np.ndarray, n: int = 200) -> list[np.ndarray]:
    """Return straight lines from anywhere to anywhere in the image, in world space."""
    rng = np.random.default_rng(0)
    ends = rng.uniform(-0.4, np.array(SHAPE) - 0.6, size=(n, 2, 3))
    along = np.linspace(0, 1, 60)[:, None]
    lines = ends[:, :1] * (1 - along) + ends[:, 1:] * along
    return [(line @ affine[:3, :3].T + affine[:3, 3]).astype(np.float32) for line in lines]


def test_what_is_written_is_read_with_its_settings(tmp_path):
    lines = _walks(AFFINES["oblique"])
    settings = {"step_mm": 0.9, "method": "probabilistic", "note": "two\nlines"}
    assert write_tck(iter(lines), tmp_path / "a.tck", settings=settings) == 200
    again = list(read_tck(tmp_path / "a.tck"))
    assert len(again) == 200
    for ours, theirs in zip(lines, again, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    header = nib.streamlines.load(tmp_path / "a.tck", lazy_load=True).header
    assert header["step_mm"] == "0.9"
    assert header["note"] == "two lines"


def test_batches_hold_all_streamlines_in_order(tmp_path):
    lines = _walks(AFFINES["oblique"], n=7)
    write_tck(lines, tmp_path / "a.tck")
    batches = list(read_batches(tmp_path / "a.tck", n_streamline=3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    for ours, theirs in zip(lines, (line for batch in batches for line in batch), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_no_streamline_is_said_and_makes_a_valid_file(tmp_path, caplog):
    assert write_tck([], tmp_path / "none.tck") == 0
    assert "none.tck is empty" in caplog.text
    assert list(read_tck(tmp_path / "none.tck")) == []
    assert density_map([], np.eye(4), SHAPE).sum() == 0


def test_an_error_on_the_way_leaves_no_file(tmp_path):
    def broken():
        yield np.zeros((3, 3), dtype=np.float32)
        raise RuntimeError("tracking broke")

    with pytest.raises(RuntimeError, match="tracking broke"):
        write_tck(broken(), tmp_path / "half.tck")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", AFFINES)
def test_a_line_counts_once_in_every_voxel_it_crosses(name):
    affine = AFFINES[name]
    ends = np.array([[1.0, 5.0, 3.0], [9.0, 5.0, 3.0]]) @ affine[:3, :3].T + affine[:3, 3]
    back_and_forth = np.concatenate([ends, ends[::-1]])
    density = density_map([back_and_forth, ends], affine, SHAPE)
    expected = np.zeros(SHAPE)
    expected[1:10, 5, 3] = 2
    np.testing.assert_array_equal(density, expected)


def test_points_outside_the_image_do_not_count():
    line = np.array([[-5.0, 2.0, 2.0], [3.0, 2.0, 2.0]])
    density = density_map([line], np.eye(4), SHAPE)
    assert density[:4, 2, 2].sum() == 4
    assert density.sum() == 4


def test_a_single_point_counts_and_has_no_length():
    point = np.array([[1.0, 2.0, 3.0]])
    assert density_map([point], np.eye(4), SHAPE)[1, 2, 3] == 1
    np.testing.assert_array_equal(lengths_mm([point]), [0.0])


@pytest.mark.needs_tool("tckmap")
@pytest.mark.parametrize("name", AFFINES)
def test_mrtrix_counts_them_and_finds_them_in_the_same_voxels(tmp_path, name):
    affine = AFFINES[name]
    lines = _walks(affine)
    write_tck(lines, tmp_path / "lines.tck")
    answer = subprocess.run(
        ["tckinfo", "-count", tmp_path / "lines.tck"], check=True, capture_output=True, text=True
    )
    assert "actual count in file: 200" in answer.stdout
    grid = save_image(np.zeros(SHAPE, dtype=np.float32), affine, tmp_path / "grid.nii.gz")
    subprocess.run(
        ["tckmap", "-quiet", "-template", grid, tmp_path / "lines.tck", tmp_path / "tdi.nii.gz"],
        check=True,
    )
    theirs = nib.load(tmp_path / "tdi.nii.gz").get_fdata()
    ours = density_map(lines, affine, SHAPE)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.98
    assert abs(ours.sum() / theirs.sum() - 1) < 0.05
