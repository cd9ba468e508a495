"""A streamline is found in every voxel it goes through, and in no other."""

import subprocess

import nibabel as nib
import numpy as np
import pytest
from tractography.fodfs import AFFINES, save_image
from tractography.walks import random_walks

from shd_bids.errors import TrackingError
from shd_bids.tractography.grid import Grid
from shd_bids.tractography.streamlines import Streamlines
from shd_bids.tractography.tractogram import write_tck

SHAPE = (12, 10, 8)
CUBES = Grid(np.eye(4), SHAPE)


def _voxels(grid: Grid, *lines) -> set[tuple[int, ...]]:
    """Return (streamline, x, y, z) of every visit."""
    owner, voxel = grid.crossed(Streamlines.of(np.array(line, dtype=float) for line in lines))
    return set(
        zip(owner.tolist(), *(i.tolist() for i in np.unravel_index(voxel, SHAPE)), strict=True)
    )


@pytest.mark.parametrize("name", AFFINES)
def test_as_many_points_as_one_likes_find_no_other_voxel(name):
    grid = Grid(AFFINES[name], SHAPE)
    walks = random_walks(grid.affine, SHAPE, n=50)
    owner, voxel = grid.crossed(walks)
    ours = set(zip(owner.tolist(), voxel.tolist(), strict=True))
    assert len(ours) == len(owner)
    parts = np.linspace(0, 1, 400)[:, None, None]
    to_voxel = np.linalg.inv(grid.affine)
    found = set()
    for order, line in enumerate(walks):
        dense = (line[:-1] * (1 - parts) + line[1:] * parts).reshape(-1, 3).astype(float)
        index = np.floor(dense @ to_voxel[:3, :3].T + to_voxel[:3, 3] + 0.5).astype(int)
        index = np.unique(index[np.all((index >= 0) & (index < SHAPE), axis=1)], axis=0)
        found |= {(order, int(v)) for v in np.ravel_multi_index(index.T, SHAPE)}
    # Sampling misses corners that are clipped by less than its spacing; ours misses none.
    assert len(found - ours) <= 0.001 * len(ours)  # faces that are touched within rounding
    assert len(ours - found) <= 0.01 * len(ours)


def test_a_long_step_finds_the_voxels_between_its_ends():
    assert _voxels(CUBES, [[1, 5, 3], [9, 5, 3]]) == {(0, x, 5, 3) for x in range(1, 10)}
    assert _voxels(CUBES, [[9, 5, 3], [1, 5, 3]]) == {(0, x, 5, 3) for x in range(1, 10)}


@pytest.mark.parametrize("direction", [(1, 1, 1), (-1, -1, -1), (1, -1, 1), (-1, 1, 0)])
def test_through_the_very_corner_the_voxel_beyond_it_is_found(direction):
    steps = np.arange(3)[:, None] * np.array(direction)
    middle = np.array([5, 5, 4])
    found = _voxels(CUBES, [middle, middle + 2 * np.array(direction)])
    assert {(0, *voxel) for voxel in (middle + steps).tolist()} <= found


def test_going_back_and_forth_is_one_visit():
    assert len(_voxels(CUBES, [[1, 5, 3], [9, 5, 3], [1, 5, 3]])) == 9


def test_streamlines_are_not_joined_to_the_next():
    found = _voxels(CUBES, [[1, 1, 1], [2, 1, 1]], [[9, 8, 7], [8, 8, 7]], [[4, 4, 4]])
    assert found == {(0, 1, 1, 1), (0, 2, 1, 1), (1, 9, 8, 7), (1, 8, 8, 7), (2, 4, 4, 4)}


def test_what_lies_outside_is_left_out_though_the_way_leads_through():
    assert _voxels(CUBES, [[-5, 2, 2], [20, 2, 2]]) == {(0, x, 2, 2) for x in range(12)}
    assert _voxels(CUBES, [[-5, -2, 2], [20, -2, 2]]) == set()


def test_no_streamline_visits_no_voxel():
    assert _voxels(CUBES) == set()


@pytest.mark.parametrize("name", AFFINES)
def test_a_finer_grid_covers_the_same_field_of_view(name):
    grid = Grid(AFFINES[name], SHAPE)
    fine = grid.at(0.5)
    np.testing.assert_allclose(np.linalg.norm(fine.affine[:3, :3], axis=0), 0.5)
    for corner in np.array([[-0.5, -0.5, -0.5], np.array(SHAPE) - 0.5]):
        place = grid.affine[:3, :3] @ corner + grid.affine[:3, 3]
        inverse = np.linalg.inv(fine.affine)
        there = inverse[:3, :3] @ place + inverse[:3, 3]
        expected = -0.5 if corner[0] < 0 else np.array(fine.shape) - 0.5
        np.testing.assert_allclose(there, expected, atol=1e-9)


def test_voxels_of_no_size_are_refused():
    with pytest.raises(TrackingError, match="size above 0 mm"):
        CUBES.at(0.0)


@pytest.mark.needs_tool("tckmap")
@pytest.mark.parametrize("name", AFFINES)
def test_mrtrix_finds_a_streamline_in_the_same_voxels(name, tmp_path):
    grid = Grid(AFFINES[name], SHAPE)
    ends = np.array([[0.31, 8.63, 0.22], [10.74, 0.42, 6.87]]) @ grid.affine[:3, :3].T
    line = Streamlines.of([np.linspace(*ends, 15) + grid.affine[:3, 3]])
    write_tck([line], tmp_path / "line.tck")
    image = save_image(np.zeros(SHAPE, dtype=np.float32), grid.affine, tmp_path / "grid.nii.gz")
    command = ["tckmap", "-quiet", "-precise", "-template", image, tmp_path / "line.tck"]
    subprocess.run([*command, tmp_path / "out.nii.gz"], check=True)
    theirs = np.flatnonzero(nib.load(tmp_path / "out.nii.gz").get_fdata() > 1e-3)
    np.testing.assert_array_equal(grid.crossed(line)[1], theirs)
    assert len(theirs) > 20
