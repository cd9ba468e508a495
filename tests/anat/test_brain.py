"""The brain is found where it is, and what is already stripped is left alone."""

import numpy as np
import pytest
from anat.heads import make_head, rigid, seen_at, upright_grid
from scipy import ndimage

from shd_bids.anat.bias import correct_bias
from shd_bids.anat.brain import dice, is_skull_stripped, mask_from_dwi, mask_from_template
from shd_bids.anat.volume import Volume, bound_threads
from shd_bids.errors import AnatomyError


@pytest.fixture(scope="module")
def head():
    """Make a brain in a bright scalp with a dark gap, on a grid with room around it."""
    bound_threads(1)
    phantom, brain = make_head()
    grid = upright_grid((46, 46, 40))
    data = seen_at(brain, np.eye(4), grid)
    mask = seen_at(Volume(phantom.mask, phantom.affine), np.eye(4), grid) > 0.5
    away = ndimage.distance_transform_edt(~mask, sampling=grid.voxel_mm)
    data = np.where((away > 4) & (away < 8), 900, data)
    noise = np.random.default_rng(0).normal(0, 15, grid.shape)
    return Volume(np.abs(data + noise).astype(np.float32), grid.affine), mask


def test_the_templates_mask_is_carried_over(head):
    t1w, mask = head
    turn = rigid((5, -6, 4), (3, 4, -2), t1w.grid.centre_ras)
    turn[:3, :3] = turn[:3, :3] * 1.06
    grid = upright_grid((46, 46, 40), orientation="LAS")
    template = Volume(seen_at(t1w, turn, grid), grid.affine)
    template_mask = seen_at(Volume(mask, t1w.affine), turn, grid) > 0.5
    assert dice(mask_from_template(t1w, template, template_mask), mask) > 0.95


def test_without_a_template_the_mask_of_the_series_is_carried_over(head, caplog):
    t1w, mask = head
    turn = rigid((5, -6, 4), (3, 4, -2), t1w.grid.centre_ras)
    grid = upright_grid((30, 30, 26), 3.0)
    dwi_mask = Volume(seen_at(Volume(mask, t1w.affine), turn, grid) > 0.5, grid.affine)
    assert dice(mask_from_dwi(t1w, dwi_mask, turn), mask) > 0.9
    assert "it is coarse" in caplog.text


def test_an_image_without_skull_is_recognised(head):
    t1w, mask = head
    assert is_skull_stripped(Volume(np.where(mask, t1w.data, 0), t1w.affine))
    assert not is_skull_stripped(t1w)


def test_a_mask_that_misses_the_head_is_refused(head):
    t1w, mask = head
    beside = np.eye(4)
    beside[:3, 3] = 500.0
    with pytest.raises(AnatomyError, match="the registration failed"):
        mask_from_dwi(t1w, Volume(mask, t1w.affine), beside)


def test_a_smooth_bias_is_divided_out(head):
    t1w, mask = head
    ramp = np.exp(np.linspace(-0.4, 0.4, t1w.data.shape[0]))[:, None, None]
    corrected, field = correct_bias(Volume((t1w.data * ramp).astype(np.float32), t1w.affine))
    left = np.log(corrected.data[mask] / t1w.data[mask].clip(1))
    assert left.std() < 0.3 * np.log(np.broadcast_to(ramp, mask.shape)[mask]).std()
    np.testing.assert_allclose(corrected.data * field, t1w.data * ramp, rtol=1e-4)
