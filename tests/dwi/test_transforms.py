"""Where volumes show the head, and how they are resampled."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.transforms import (
    PhaseEncoding,
    VolumeTransforms,
    read_transforms,
    resample_volume,
    rotate_gradients,
    voxel_matrix,
    write_transforms,
)
from shd_bids.errors import TransformError
from shd_bids.testing.scan import make_affine

SHAPE = (20, 22, 18)


def some_transforms(n_volume=3, seed=0):
    random = np.random.default_rng(seed)
    return VolumeTransforms(
        random.normal(0, 2, (n_volume, 3)),
        random.normal(0, 0.05, (n_volume, 3)),
        random.normal(0, 0.01, (n_volume, 4)),
    )


def world(affine, voxels):
    return voxels @ affine[:3, :3].T + affine[:3, 3]


@pytest.mark.parametrize("orientation", ["RAS", "LAS", "LPS", "oblique"])
def test_a_point_is_observed_where_the_convention_says(orientation):
    affine, transforms = make_affine(SHAPE, 2.0, orientation), some_transforms()
    point = np.array([3.0, 15.0, 4.0])
    centre = world(affine, (np.array(SHAPE) - 1) / 2)
    axes = affine[:3, :3] / 2.0
    moved = transforms.rotations()[1] @ (world(affine, point) - centre)
    moved = moved + transforms.translation_mm[1]
    displacement_mm = transforms.eddy[1] @ np.append(axes.T @ moved, 1.0)
    expected = moved + axes[:, 1] * displacement_mm + centre
    matrix = voxel_matrix(transforms, 1, affine, SHAPE, phase_axis=1)
    assert np.allclose(world(affine, (matrix @ [*point, 1])[:3]), expected)


def test_a_positive_field_is_found_further_along_the_phase_axis():
    true, shift = np.zeros(SHAPE, np.float32), np.full(SHAPE, 3.0)
    true[10, 8, 9] = 1
    observed = np.roll(true, 3, axis=1)
    corrected = resample_volume(observed, np.eye(4), shift_vox=shift, phase_axis=1, order=1)
    assert np.allclose(corrected, true, atol=1e-6)


def test_the_sum_of_the_signal_survives_distortion():
    true = gaussian_filter(np.random.default_rng(0).random(SHAPE), 2)
    true *= np.sin(np.linspace(0, np.pi, SHAPE[1]))[:, None] ** 2
    along = np.linspace(-1, 1, SHAPE[1])[None, :, None]
    shift = np.broadcast_to(1.5 * (1 - along**2) ** 2, SHAPE).copy()
    observed = true.astype(np.float32)
    corrected = resample_volume(observed, np.eye(4), shift_vox=shift, phase_axis=1)
    assert corrected.sum() == pytest.approx(observed.sum(), rel=0.01)


def test_the_volume_taken_for_reference_has_not_moved():
    relative = some_transforms().relative_to(2)
    assert np.allclose(relative.translation_mm[2], 0)
    assert np.allclose(relative.rotation_rad[2], 0)


def test_a_change_of_reference_keeps_where_volumes_lie_to_each_other():
    transforms, affine = some_transforms(), make_affine(SHAPE, 2.0)
    still = VolumeTransforms(transforms.translation_mm, transforms.rotation_rad, np.zeros((3, 4)))

    def between(some):
        first, other = (voxel_matrix(some, v, affine, SHAPE, 1) for v in (0, 1))
        return other @ np.linalg.inv(first)

    assert np.allclose(between(still), between(still.relative_to(2)))


def test_directions_turn_back_with_the_head():
    angles = np.array([[0.0, 0.0, np.pi / 2]])  # the nose from +y to -x
    transforms = VolumeTransforms(np.zeros((1, 3)), angles, np.zeros((1, 4)))
    applied = GradientTable(np.array([1000.0]), np.array([[-1.0, 0.0, 0.0]]))
    assert np.allclose(rotate_gradients(applied, transforms).bvecs_ras, [[0, 1, 0]])


def test_what_was_written_is_read_back(tmp_path):
    transforms = some_transforms()
    write_transforms(transforms, tmp_path / "transforms.tsv")
    again = read_transforms(tmp_path / "transforms.tsv")
    assert np.allclose(again.rotation_rad, transforms.rotation_rad, rtol=1e-6)
    assert np.allclose(again.eddy, transforms.eddy, rtol=1e-6)


def test_a_table_without_head_positions_is_refused(tmp_path):
    (tmp_path / "table.tsv").write_text("trans_x\n0\n")
    with pytest.raises(TransformError, match="Expected columns trans_x"):
        read_transforms(tmp_path / "table.tsv")


def test_opposite_directions_differ_in_sign():
    assert PhaseEncoding.from_bids("j").sign == -PhaseEncoding.from_bids("j-").sign
