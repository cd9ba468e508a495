"""Left is left, whatever the order in which a scanner stored its voxels."""

import nibabel as nib
import numpy as np
import pytest

from shd_bids.reports.figures.anatomy import (
    grey_range,
    show_window,
    slice_position_mm,
    to_canonical,
)

STORED_ORDERS = ["RAS", "LAS", "LPS", "PIR", "SLA"]


def stored_as(order: str, oblique_deg: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give a volume with one voxel marked left, front, top, its affine and that point in mm."""
    turn = np.deg2rad(oblique_deg)
    rotation = np.array(
        [[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([2.0, 2.0, 3.0])
    affine[:3, 3] = [-12.0, -14.0, -9.0]
    volume = np.zeros((13, 15, 7))
    volume[2, 12, 5] = 1.0
    point = affine[:3, :3] @ [2, 12, 5] + affine[:3, 3]
    image = nib.Nifti1Image(volume, affine)
    target = nib.orientations.axcodes2ornt(order)
    turned = image.as_reoriented(
        nib.orientations.ornt_transform(nib.io_orientation(affine), target)
    )
    return np.asarray(turned.dataobj), turned.affine, point


@pytest.mark.parametrize("order", STORED_ORDERS)
@pytest.mark.parametrize("oblique_deg", [0.0, 20.0])
def test_the_left_of_the_brain_is_on_the_left_of_the_page(order, oblique_deg):
    volume, affine, _ = stored_as(order, oblique_deg)
    turned, matrix = to_canonical(volume, affine)
    window = show_window(np.ones(turned.shape, dtype=bool), matrix)
    for plane, index in (("axial", 5), ("coronal", 12)):
        row, column = np.argwhere(window.cut(turned, plane, index))[0]
        assert column == 2
        assert row == (12 if plane == "axial" else 5)


@pytest.mark.parametrize("order", STORED_ORDERS)
def test_front_is_right_and_top_is_up_in_a_sagittal_slice(order):
    volume, affine, _ = stored_as(order)
    turned, matrix = to_canonical(volume, affine)
    window = show_window(np.ones(turned.shape, dtype=bool), matrix)
    assert np.argwhere(window.cut(turned, "sagittal", 2)).tolist() == [[5, 12]]


@pytest.mark.parametrize("order", STORED_ORDERS)
def test_reordering_voxels_keeps_their_place_in_the_world(order):
    volume, affine, point = stored_as(order, oblique_deg=20.0)
    turned, matrix = to_canonical(volume, affine)
    found = np.argwhere(turned)[0]
    np.testing.assert_allclose(matrix[:3, :3] @ found + matrix[:3, 3], point, atol=1e-9)


def test_a_slice_is_named_by_its_world_coordinate():
    volume, affine, point = stored_as("LAS")
    turned, matrix = to_canonical(volume, affine)
    assert slice_position_mm(matrix, turned.shape, "axial", 5) == pytest.approx(point[2])


def test_the_window_keeps_the_size_of_anisotropic_voxels():
    window = show_window(np.ones((10, 20, 5), dtype=bool), np.diag([2.0, 1.0, 4.0, 1.0]))
    assert window.extent_mm("axial") == (20.0, 20.0)
    assert window.extent_mm("coronal") == (20.0, 20.0)
    assert window.extent_mm("sagittal") == (20.0, 20.0)


def test_the_grey_range_of_nothing_is_still_a_range():
    nothing = np.zeros((3, 3, 3))
    assert grey_range(nothing, nothing > 0) == (0.0, 1.0)
    assert grey_range(np.full((3, 3, 3), np.nan), nothing == 0) == (0.0, 1.0)
