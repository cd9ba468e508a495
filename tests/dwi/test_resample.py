"""The corrected series."""

import numpy as np
import pytest
from dwi.moving_head import encodings, random_transforms, scan_head

from shd_bids.dwi.displacement import framewise_displacement
from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.resample import output_grid, resample_series
from shd_bids.dwi.shells import Shells
from shd_bids.dwi.transforms import VolumeTransforms, rotate_gradients
from shd_bids.testing.scan import make_affine

SHAPE = (24, 24, 20)
AFFINE = make_affine(SHAPE, 3.0)


def test_a_series_that_never_moved_stays_as_it_is():
    dwi = np.random.default_rng(0).random((*SHAPE, 2)).astype(np.float32)
    still = VolumeTransforms.identity(2)
    corrected, affine = resample_series(dwi, AFFINE, still, encodings(2))
    inner = (slice(1, -1),) * 3
    assert np.allclose(corrected[inner], dwi[inner], atol=1e-4)
    assert np.array_equal(affine, AFFINE)


def test_a_moved_series_looks_as_if_the_head_had_been_still():
    shells = Shells(np.array([0.0, 1000.0]), np.array([0, 1, 1]))
    moved = random_transforms(shells, mm=2.0, degrees=4.0, eddy=0.02)
    applied = GradientTable(np.array([0.0, 1000.0, 1000.0]), np.eye(3))
    dwi, mask = scan_head(SHAPE, AFFINE, applied, moved, snr=1e6)
    seen = rotate_gradients(applied, moved)
    truth, _ = scan_head(SHAPE, AFFINE, seen, VolumeTransforms.identity(3), snr=1e6)
    corrected, _ = resample_series(dwi, AFFINE, moved, encodings(3))
    inside = mask.copy()
    inside[[0, -1]] = inside[:, [0, -1]] = inside[:, :, [0, -1]] = False
    before = np.abs(dwi - truth)[inside].mean(axis=0)
    after = np.abs(corrected - truth)[inside].mean(axis=0)
    assert (after[1:] < 0.7 * before[1:]).all()
    assert corrected.min() >= 0


def test_an_isotropic_grid_keeps_the_field_of_view_and_its_centre():
    affine = AFFINE @ np.diag([1, 1, 2, 1])
    finer, shape = output_grid(affine, SHAPE, 1.5)
    assert shape == (48, 48, 80)
    for at in (affine, finer):
        assert np.allclose(np.cross(at[:3, 0], AFFINE[:3, 0]), 0)

    def centre(some, n):
        return some[:3, :3] @ ((np.array(n) - 1) / 2) + some[:3, 3]

    assert np.allclose(centre(affine, SHAPE), centre(finer, shape))


@pytest.mark.parametrize("resolution_mm", [3.0, 1.5])
def test_signal_that_the_field_stretched_keeps_its_sum_on_any_grid(resolution_mm):
    along = np.linspace(-1, 1, SHAPE[1])[None, :, None]
    field = np.broadcast_to(30 * (1 - along**2) ** 2, SHAPE).copy()
    blob = np.exp(-((np.indices(SHAPE) - 11.0) ** 2) / 18).prod(axis=0)
    dwi = np.repeat(blob[..., None], 2, axis=3).astype(np.float32)
    still = VolumeTransforms.identity(2)
    corrected, affine = resample_series(
        dwi, AFFINE, still, encodings(2), field_hz=field, resolution_mm=resolution_mm
    )
    voxel = abs(np.linalg.det(affine)) / abs(np.linalg.det(AFFINE))
    assert corrected.sum() * voxel == pytest.approx(dwi.sum(), rel=0.02)


def test_displacement_adds_translations_and_arcs():
    moved = VolumeTransforms(
        np.array([[0.0, 0, 0], [1, -2, 0]]), np.array([[0.0, 0, 0], [0, 0, 0.02]]), np.zeros((2, 4))
    )
    assert framewise_displacement(moved)[1] == pytest.approx(1 + 2 + 50 * 0.02)
    assert np.isnan(framewise_displacement(moved)[0])
