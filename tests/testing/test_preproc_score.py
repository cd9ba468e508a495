"""Scores of corrections whose errors are known."""

import numpy as np
import pytest

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.transforms import VolumeTransforms, rotate_gradients
from shd_bids.testing.preproc_score import (
    score_bias,
    score_dropout,
    score_field,
    score_gradients,
    score_motion,
    score_signal,
)
from shd_bids.testing.scan import make_affine

SHAPE = (12, 14, 10)
AFFINE = make_affine(SHAPE, 2.0)


def ball():
    return np.linalg.norm(np.indices(SHAPE).T - (np.array(SHAPE) - 1) / 2, axis=-1).T < 4


def positions(n_volume=5, seed=0):
    random = np.random.default_rng(seed)
    shifts, angles = random.normal(0, [[[2.0]], [[0.05]]], (2, n_volume, 3))
    return VolumeTransforms(shifts, angles, np.zeros((n_volume, 4)))


def table(n_volume=5):
    bvecs = np.random.default_rng(1).standard_normal((n_volume, 3))
    bvecs[0] = 0
    bvecs[1:] /= np.linalg.norm(bvecs[1:], axis=1, keepdims=True)
    return GradientTable(np.r_[0.0, np.full(n_volume - 1, 1000.0)], bvecs)


@pytest.mark.parametrize("reference", [0, 3])
def test_the_truth_has_no_error_whatever_the_reference(reference):
    true = positions()
    error = score_motion(true.relative_to(reference), true, AFFINE, ball(), reference=reference)
    assert error.translation_mm.max() < 1e-9
    assert error.rotation_deg.max() < 1e-6
    assert error.displacement_mm.max() < 1e-9
    corrected = rotate_gradients(table(), true.relative_to(reference))
    assert score_gradients(corrected, table(), true, reference=reference).max() < 1e-6


def test_a_shift_and_a_turn_count_in_mm_and_degrees():
    still = VolumeTransforms.identity(3)
    moved = VolumeTransforms(
        np.array([[0, 0, 0], [0.3, 0, 0.4], [0, 0, 0]]),
        np.radians([[0.0, 0, 0], [0, 0, 0], [0, 2.0, 0]]),
        np.zeros((3, 4)),
    )
    error = score_motion(moved, still, AFFINE, ball())
    assert np.allclose(error.translation_mm, [0, 0.5, 0])
    assert np.allclose(error.rotation_deg, [0, 0, 2])
    assert error.displacement_mm[1] == pytest.approx(0.5)
    assert 0 < error.displacement_mm[2] < np.radians(2) * 8


def test_a_head_that_is_left_uncorrected_has_its_own_motion_as_error():
    true = positions()
    error = score_motion(VolumeTransforms.identity(5), true, AFFINE, ball())
    angles = np.degrees(np.linalg.norm(true.relative_to(0).rotation_rad, axis=1))
    assert np.allclose(error.rotation_deg, angles, rtol=0.05)


def test_opposite_directions_are_the_same_axis():
    still, applied = VolumeTransforms.identity(5), table()
    opposite = GradientTable(applied.bvals, -applied.bvecs_ras)
    angles = score_gradients(opposite, applied, still)
    assert angles.shape == (4,)
    assert angles.max() < 1e-6


def test_half_a_field_leaves_half_the_distortion():
    field = np.random.default_rng(0).normal(0, 30, SHAPE)
    assert score_field(np.zeros(SHAPE), field, ball()) == pytest.approx(1.0)
    assert score_field(field / 2, field, ball()) == pytest.approx(0.5)


def test_slices_found_missed_and_invented_are_counted():
    kept, found = np.ones((4, 6)), np.zeros((4, 6), dtype=bool)
    kept[1, 2] = kept[2, 3] = 0.5
    found[1, 2] = found[3, 3] = found[0, 0] = True
    score = score_dropout(found, kept)
    assert (score.recall, score.precision) == (1 / 2, 1 / 3)
    assert np.isnan(score_dropout(found, np.ones((4, 6))).recall)


def test_the_scale_of_a_bias_does_not_matter():
    bias = np.exp(np.random.default_rng(0).normal(0, 0.1, SHAPE))
    assert score_bias(7 * bias, bias, ball()) == pytest.approx(0)
    assert score_bias(np.ones(SHAPE), bias, ball()) == pytest.approx(0.1, rel=0.2)


def test_the_error_of_the_signal_is_its_noise():
    random = np.random.default_rng(0)
    clean = np.full((*SHAPE, 3), 100.0)
    noisy = 2 * (clean + random.normal(0, 5, clean.shape))
    assert score_signal(noisy, clean, ball()) == pytest.approx(5, rel=0.1)
