"""The maps count what they say, on any grid, and as MRtrix3 counts."""

import subprocess

import nibabel as nib
import numpy as np
import pytest
from tractography.fodfs import AFFINES, save_image
from tractography.walks import random_walks

from shd_bids.tractography.grid import Grid
from shd_bids.tractography.maps import map_streamlines
from shd_bids.tractography.streamlines import Streamlines
from shd_bids.tractography.tractogram import write_tck

SHAPE = (12, 10, 8)
CUBES = Grid(np.eye(4), SHAPE)
SHORT, LONG = [[1, 5, 3], [3, 5, 3]], [[3, 5, 3], [9, 5, 3]]


def _batch(*lines) -> Streamlines:
    return Streamlines.of(np.array(line, dtype=float) for line in lines)


def test_where_two_streamlines_meet_both_are_counted_and_their_lengths_averaged():
    maps = map_streamlines([_batch(SHORT), _batch(LONG)], CUBES, CUBES)
    np.testing.assert_array_equal(maps.density[:, 5, 3], [0, 1, 1, 2, 1, 1, 1, 1, 1, 1, 0, 0])
    np.testing.assert_array_equal(maps.ends[:, 5, 3], [0, 1, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0])
    np.testing.assert_array_equal(
        maps.mean_length_mm[:, 5, 3], [0, 2, 2, 4, 6, 6, 6, 6, 6, 6, 0, 0]
    )
    assert maps.density.sum() == 10


def test_a_streamline_that_ends_where_it_began_counts_once():
    maps = map_streamlines([_batch([*SHORT, SHORT[0]], [[6, 6, 6]])], CUBES, CUBES)
    assert maps.ends[1, 5, 3] == maps.ends[6, 6, 6] == maps.density[6, 6, 6] == 1
    assert maps.ends.sum() == 2


def test_maps_do_not_depend_on_the_batches():
    walks = random_walks(AFFINES["oblique"], SHAPE, n=60)
    grid = Grid(AFFINES["oblique"], SHAPE)
    whole = map_streamlines([walks], grid, grid.at(1.0))
    lines = list(walks)
    cut = (Streamlines.of(lines[first : first + 7]) for first in range(0, 60, 7))
    parts = map_streamlines(cut, grid, grid.at(1.0))
    np.testing.assert_array_equal(parts.density, whole.density)
    np.testing.assert_array_equal(parts.ends, whole.ends)
    np.testing.assert_array_equal(parts.fine_density, whole.fine_density)
    np.testing.assert_allclose(parts.mean_length_mm, whole.mean_length_mm, rtol=1e-6)


def test_no_streamline_gives_maps_of_nothing():
    maps = map_streamlines([], CUBES, CUBES.at(0.5))
    assert maps.density.sum() == maps.ends.sum() == maps.mean_length_mm.sum() == 0
    assert maps.fine_density.shape == (24, 20, 16)


@pytest.mark.needs_tool("tckmap")
@pytest.mark.parametrize("name", AFFINES)
def test_mrtrix_maps_the_same(name, tmp_path):
    grid = Grid(AFFINES[name], SHAPE)
    # Gently bent, because MRtrix3 joins the points by curves and we by straight lines.
    walks = random_walks(grid.affine, SHAPE, n=300, bend=0.03)
    write_tck([walks], tmp_path / "walks.tck")
    image = save_image(np.zeros(SHAPE, dtype=np.float32), grid.affine, tmp_path / "grid.nii.gz")

    def theirs(*options: str) -> np.ndarray:
        command = ["tckmap", "-quiet", "-force", "-template", image, tmp_path / "walks.tck"]
        subprocess.run([*command, tmp_path / "out.nii.gz", *options], check=True)
        return nib.load(tmp_path / "out.nii.gz").get_fdata()

    maps = map_streamlines([walks], grid, grid.at(0.8))
    # MRtrix3 looks at points along the way, so it misses corners; the more points, the fewer.
    density, fine = theirs("-upsample", "64"), theirs("-upsample", "64", "-vox", "0.8")
    fine_affine = nib.load(tmp_path / "out.nii.gz").affine
    np.testing.assert_allclose(fine_affine, grid.at(0.8).affine, atol=1e-5)
    for ours, their in ((maps.density, density), (maps.fine_density, fine)):
        assert ours.shape == their.shape
        assert np.corrcoef(ours.ravel(), their.ravel())[0, 1] > 0.99
        assert ours.sum() == pytest.approx(their.sum(), rel=0.01)
    np.testing.assert_array_equal(maps.ends, theirs("-ends_only"))
    lengths = theirs("-upsample", "64", "-contrast", "length", "-stat_vox", "mean")
    same = maps.density == density
    assert np.mean(same) > 0.95
    assert np.mean(np.abs(maps.mean_length_mm - lengths)[same] < 0.01) > 0.99
