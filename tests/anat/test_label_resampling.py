"""Labels are looked up as ITK does it, only faster."""

import numpy as np
import pytest
import SimpleITK as sitk
from anat.heads import rigid, upright_grid

from shd_bids.anat.label_resampling import resample_labels
from shd_bids.anat.resampling import resample
from shd_bids.anat.transforms import chain, from_field, from_matrix
from shd_bids.anat.volume import Volume, to_itk


@pytest.fixture(scope="module")
def atlas():
    grid = upright_grid((24, 22, 20), 2.0, "LPS")
    x, y, z = np.indices(grid.shape) // 5
    return Volume((1 + x + 10 * y + 100 * z).astype(np.int32), grid.affine)


def _bend(grid):
    field = np.zeros((*grid.shape, 3))
    field[..., 0] = 3 * np.sin(np.indices(grid.shape)[1] / 4)
    turn = rigid((7, -4, 9), (5, -3, 2), grid.centre_ras)
    return chain(from_field(field, grid.affine), from_matrix(turn))


def test_labels_are_those_of_itk(atlas):
    grid = upright_grid((21, 23, 19), 1.9, "oblique")
    transform = _bend(atlas.grid)
    image = to_itk(Volume(np.zeros(grid.shape, np.float32), grid.affine))
    expected = sitk.Resample(to_itk(atlas), image, transform, sitk.sitkLabelLinear, 0.0)
    found = resample_labels(atlas, transform, grid)
    same = found == sitk.GetArrayFromImage(expected).T
    assert same.mean() > 0.9999
    assert len(np.unique(found)) > 50


def test_the_identity_changes_nothing_and_what_is_not_seen_is_0(atlas):
    np.testing.assert_array_equal(resample_labels(atlas, chain(), atlas.grid), atlas.data)
    beyond = np.diag([1.0, 1.0, 1.0, 1.0])
    beyond[:3, 3] = 500
    assert not resample_labels(atlas, from_matrix(beyond), atlas.grid).any()


def test_a_tie_goes_to_the_region_however_voxels_are_stored():
    data = np.zeros((4, 1, 1), np.int32)
    data[1:3, 0, 0] = (5, 3)
    affine, half = np.eye(4), np.eye(4)
    flipped = np.diag([-1.0, 1.0, 1.0, 1.0])
    flipped[0, 3], half[0, 3] = 3.0, 0.5
    grid = Volume(data, affine).grid
    first = resample(Volume(data, affine), from_matrix(half), grid, kind="label")
    second = resample(Volume(data[::-1], flipped), from_matrix(half), grid, kind="label")
    np.testing.assert_array_equal(first, second)
    assert first.ravel().tolist() == [5, 5, 3, 0]
