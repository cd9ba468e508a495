"""A transform means the same to us, to ITK's files and to an independent reader."""

import nibabel as nib
import numpy as np
import pytest
from anat.heads import make_head, rigid, seen_at, upright_grid
from nitransforms.linear import Affine
from nitransforms.manip import TransformChain
from nitransforms.nonlinear import DenseFieldTransform
from nitransforms.resampling import apply
from scipy.ndimage import gaussian_filter

from shd_bids.anat.resampling import resample
from shd_bids.anat.transforms import (
    chain,
    from_field,
    from_matrix,
    read_transform,
    to_matrix,
    write_transform,
)
from shd_bids.anat.volume import Volume, from_itk, to_itk
from shd_bids.errors import TransformError

ORDERS = ["RAS", "LAS", "LPS", "oblique"]


@pytest.fixture(scope="module")
def head():
    return make_head()[1]


@pytest.fixture(scope="module")
def matrix(head):
    return rigid((7.0, -4.0, 9.0), (5.0, -3.0, 2.0), head.grid.centre_ras)


@pytest.mark.parametrize("order", ORDERS)
def test_an_image_comes_back_from_itk_as_it_went(order):
    grid = upright_grid((5, 6, 7), 2.5, order)
    volume = Volume(np.arange(210, dtype=np.float32).reshape(grid.shape), grid.affine)
    back = from_itk(to_itk(volume))
    np.testing.assert_array_equal(back.data, volume.data)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-6)


def test_a_matrix_comes_back_from_its_file(matrix, tmp_path):
    file = write_transform(from_matrix(matrix), tmp_path / "x.txt")
    np.testing.assert_allclose(to_matrix(read_transform(file)), matrix, atol=1e-9)


@pytest.mark.parametrize("order", ORDERS)
def test_a_matrix_moves_an_image_as_numpy_and_nitransforms_say(order, head, matrix, tmp_path):
    grid = upright_grid(orientation=order)
    ours = resample(head, from_matrix(matrix), grid)
    np.testing.assert_allclose(ours, seen_at(head, matrix, grid), atol=0.5)
    file = write_transform(from_matrix(matrix), tmp_path / "from-T1w_to-dwi_mode-image_xfm.txt")
    reference = nib.Nifti1Image(np.zeros(grid.shape, np.float32), grid.affine)
    read = Affine.from_filename(file, fmt="itk", reference=reference)
    theirs = apply(read, nib.Nifti1Image(head.data, head.affine), order=1)
    np.testing.assert_allclose(ours, theirs.get_fdata(), atol=0.5)


@pytest.fixture(scope="module")
def field(head):
    noise = np.random.default_rng(0).normal(size=(*head.data.shape, 3))
    smooth = gaussian_filter(noise, (4, 4, 4, 0))
    return (smooth * 3 / smooth.std()).astype(np.float32)


def test_a_field_moves_an_image_as_nitransforms_says(head, field, tmp_path):
    ours = resample(head, from_field(field, head.affine), head.grid)
    theirs = apply(
        DenseFieldTransform(nib.Nifti1Image(field, head.affine), is_deltas=True),
        nib.Nifti1Image(head.data, head.affine),
        order=1,
    )
    inner = (slice(6, -6),) * 3
    np.testing.assert_allclose(ours[inner], theirs.get_fdata()[inner], atol=2.0)


def test_a_composite_means_the_same_to_nitransforms(head, field, matrix, tmp_path):
    both = chain(from_field(field, head.affine), from_matrix(matrix))
    file = write_transform(both, tmp_path / "from-T1w_to-X_mode-image_xfm.h5")
    ours = resample(head, read_transform(file), head.grid)
    image = nib.Nifti1Image(head.data, head.affine)
    read = TransformChain.from_filename(file, fmt="itk", reference=image, moving=image)
    theirs = apply(read, image, reference=image, order=1)
    inner = (slice(6, -6),) * 3
    np.testing.assert_allclose(ours[inner], theirs.get_fdata()[inner], atol=2.0)


def test_a_chain_passes_points_in_the_order_given(matrix):
    other = rigid((0, 30, 0), (1, 2, 3), np.zeros(3))
    joined = chain(from_matrix(other), from_matrix(matrix))
    np.testing.assert_allclose(to_matrix(joined), matrix @ other, atol=1e-9)


def test_labels_are_never_mixed(head, matrix):
    labels = Volume(np.digitize(head.data, [200, 500, 800]) * 1000, head.affine)
    moved = resample(labels, from_matrix(matrix), upright_grid(edge_mm=3.0), kind="label")
    assert set(np.unique(moved)) <= {0, 1000, 2000, 3000}
    assert moved.dtype == np.int32


def test_larger_voxels_hold_the_mean_of_what_lies_in_them():
    stripes = np.zeros((24, 24, 24), np.float32)
    stripes[::2] = 100.0
    volume = Volume(stripes, np.eye(4))
    wide = volume.grid.with_voxels(4.0)
    inner = resample(volume, from_matrix(np.eye(4)), wide)[1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(inner, 50.0, atol=5.0)


def test_a_missing_transform_is_named(tmp_path):
    with pytest.raises(TransformError, match=r"none.txt cannot be read as a transform"):
        read_transform(tmp_path / "none.txt")
