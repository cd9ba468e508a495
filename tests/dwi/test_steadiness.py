"""How far a head is expected to move between volumes, learnt from how far it did."""

from itertools import accumulate

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.spatial.transform import Rotation

from shd_bids.dwi.steadiness import Steadiness, expect_steady, learn_steadiness
from shd_bids.dwi.transforms import VolumeTransforms

N = 400


def walk(scale_mm, scale_deg, seed=0):
    """Move a head by steps of a Cauchy distribution of these scales."""
    random = np.random.default_rng(seed)
    steps = random.standard_normal((N, 6)) / np.abs(random.standard_normal(N))[:, None]
    turns = Rotation.from_rotvec(np.deg2rad(scale_deg * steps[:, 3:]))
    turned = list(accumulate(turns, lambda before, turn: turn * before))
    angles = Rotation.concatenate(turned).as_euler("xyz")
    return VolumeTransforms(scale_mm * steps[:, :3].cumsum(axis=0), angles, np.zeros((N, 4)))


def learn(transforms, unsure=0.0, n_time=60):
    steadiness = Steadiness()
    covariance = np.eye(6 * transforms.n_volume) * unsure**2
    for _ in range(n_time):
        steadiness = learn_steadiness(transforms, steadiness, covariance)
    return steadiness


def test_the_scale_of_the_movements_is_learnt():
    found = learn(walk(0.1, 0.7))
    assert found.translation_mm == pytest.approx(0.1, rel=0.15)
    assert found.rotation_deg == pytest.approx(0.7, rel=0.15)


def test_one_jump_does_not_make_a_steady_head_restless():
    rows = np.zeros((N, 3))
    rows[N // 2 :] = 5.0
    assert learn(VolumeTransforms(rows, 0 * rows, np.zeros((N, 4)))).translation_mm < 0.05


def test_movements_that_are_not_known_well_are_not_taken_for_small_ones():
    still = VolumeTransforms.identity(N)
    assert learn(still, unsure=0.2).translation_mm > learn(still).translation_mm


@pytest.mark.parametrize("may_jump", [False, True])
def test_the_slope_is_that_of_the_distribution(may_jump):
    steadiness = Steadiness(0.2, 0.2)
    row, scales = np.random.default_rng(0).normal(size=(2, 3)) * 0.2, steadiness.scales()

    def cost(translation_mm):
        moves = np.diff(translation_mm.reshape(2, 3), axis=0) / scales[:3]
        square = (moves**2).sum()
        return 3.5 * np.log1p(square) if may_jump else square / 2

    transforms = VolumeTransforms(row, np.zeros((2, 3)), np.zeros((2, 4)))
    slope = expect_steady(transforms, steadiness, may_jump=may_jump)[1].reshape(2, 6)[:, :3]
    assert np.allclose(slope.ravel(), approx_fprime(row.ravel(), cost), rtol=1e-3)
