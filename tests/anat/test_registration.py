"""Two images of one head are brought together, whatever their contrast and grid."""

import numpy as np
import pytest
from anat.heads import make_head, rigid, seen_at, upright_grid
from scipy.ndimage import binary_dilation
from scipy.spatial.transform import Rotation

from shd_bids.anat.normalisation import normalise
from shd_bids.anat.registration import register
from shd_bids.anat.resampling import resample
from shd_bids.anat.volume import Volume, bound_threads
from shd_bids.errors import TransformError


@pytest.fixture(scope="module")
def head():
    bound_threads(1)
    return make_head()


def _distance_mm(found, true, grid, mask):
    points = np.argwhere(mask) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    apart = (found - true)[:3, :3] @ points.T + (found - true)[:3, 3:]
    return np.linalg.norm(apart, axis=0).mean()


@pytest.mark.parametrize(
    ("turn_deg", "shift_mm"),
    [((10, -5, 6), (8, -6, 5)), ((-3, 9, -8), (-2, 9, -7)), ((0, 0, 0), (0, 0, 0))],
)
def test_a_t1w_image_is_found_in_a_b0_image_of_another_contrast(head, turn_deg, shift_mm):
    phantom, t1w = head
    true = rigid(turn_deg, shift_mm, phantom.affine[:3, 3] + 20)
    grid = upright_grid((64, 64, 50), 1.3)
    inverse = np.linalg.inv(true)
    moved = seen_at(t1w, inverse, grid) + np.random.default_rng(0).normal(0, 20, grid.shape)
    b0 = Volume(phantom.dwi[..., 0], phantom.affine)
    near = binary_dilation(phantom.mask, iterations=3)
    found = register(b0, Volume(np.abs(moved).astype(np.float32), grid.affine), mask=near)
    assert _distance_mm(found, true, b0.grid, phantom.mask) < 0.5
    turn = Rotation.from_matrix(found[:3, :3] @ true[:3, :3].T).magnitude()
    assert np.rad2deg(turn) < 1.0  # seen from above, this head is nearly a circle


def test_a_stretched_head_fits_the_template_and_the_way_back_undoes_it(head):
    phantom, template = head
    stretch = rigid((6, 4, -5), (4, -3, 2), phantom.affine[:3, 3] + 20)
    stretch[:3, :3] = stretch[:3, :3] @ np.diag([1.08, 0.94, 1.05])
    grid = upright_grid()
    t1w = Volume(seen_at(template, stretch, grid), grid.affine)
    found = normalise(t1w, template)
    brought = resample(t1w, found.to_template(), template.grid)
    inside = phantom.mask
    assert np.corrcoef(brought[inside], template.data[inside])[0, 1] > 0.97
    forward, backward = found.to_template(), found.from_template()
    points = (np.argwhere(inside)[::50] @ template.affine[:3, :3].T + template.affine[:3, 3]) * [
        -1,
        -1,
        1,
    ]
    again = [backward.TransformPoint(forward.TransformPoint(p)) for p in points.tolist()]
    assert np.linalg.norm(np.array(again) - points, axis=1).mean() < 0.2


def test_an_empty_mask_is_refused(head):
    phantom, t1w = head
    with pytest.raises(TransformError, match="0 voxels that are compared"):
        register(t1w, t1w, mask=np.zeros_like(phantom.mask))
