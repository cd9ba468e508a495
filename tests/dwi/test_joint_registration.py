"""Volumes that move together: to each other, to a steady head, and by eddy currents of one law."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.joint_registration import step_together
from shd_bids.dwi.prediction import Predictor
from shd_bids.dwi.sampling import Domain, interpolate
from shd_bids.dwi.shading import N_TERM
from shd_bids.dwi.shells import Shells
from shd_bids.dwi.steadiness import Steadiness
from shd_bids.dwi.transforms import PhaseEncoding, VolumeTransforms
from shd_bids.dwi.volume_registration import advance, distance_mm
from shd_bids.testing.scan import make_affine

SHAPE = (26, 28, 24)
AFFINE = make_affine(SHAPE, 2.0)
SHELLS = Shells(np.array([0.0, 1000.0]), np.array([0, 1, 1]))
GRADIENTS = GradientTable(np.array([0.0, 1000.0, 1000.0]), np.eye(3)[[0, 1, 2]])
STEP = np.array([0.6, -0.4, 0.5, 0.01, -0.01, 0.02, 0, 0, 0, 0])


@pytest.fixture(scope="module")
def domain():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[6:20, 6:22, 6:18] = True
    return Domain.about(mask, AFFINE, [PhaseEncoding(1, 1, 0.05)] * 3)


def run(
    domain,
    now,
    *,
    moved_mm=(0, 0, 0),
    coils=None,
    brighter=(0, 0, 0),
    scale=1.0,
    n_step=8,
    may_jump=True,
    has_eddy=False,
):
    """Take steps with two volumes that should look alike; the scale is that of their precision.

    Before the second of them the head moved, and this volume is brighter on one side.
    """
    image = gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 2.0)
    image = (1000 + 5000 * image).astype(np.float32)
    precision, steadiness = np.zeros((3, 3)), Steadiness()
    precision[1:, 1:] = np.array([[1e-4, -9.9e-5], [-9.9e-5, 1e-4]]) * scale
    coils = coils or domain.shading
    away_vox = np.linalg.solve(AFFINE[:3, :3], moved_mm)[:, None]
    side = 1 + domain.centred_mm() @ brighter / domain.shading.radius_mm
    for _ in range(n_step):
        seen = []
        for v in range(3):
            values = interpolate(image, domain.locate(now, v) - away_vox * (v == 2), 1)
            values *= coils.at(domain.in_scanner_mm(now, v)) / domain.brightness(now, v)
            seen.append((values * side ** (v == 2)).astype(np.float32))
        now, shading, steadiness = step_together(
            np.stack(seen),
            Predictor(precision),
            domain,
            now,
            GRADIENTS,
            SHELLS,
            steadiness,
            chosen=domain.brain,
            information=1.0,
            has_eddy=has_eddy,
            may_jump=may_jump,
        )
        domain = replace(domain, shading=shading)
    return now


def test_volumes_of_one_shell_come_together(domain):
    still = VolumeTransforms.identity(3)
    apart = advance(advance(still, 1, STEP), 2, -STEP)
    now = run(domain, apart)
    assert np.allclose(now.translation_mm[1], now.translation_mm[2], atol=0.1)
    assert np.allclose(now.rotation_rad[1], now.rotation_rad[2], atol=0.003)


def test_what_the_images_do_not_tell_is_that_the_head_keeps_still(domain):
    still = VolumeTransforms.identity(3)
    away = advance(advance(still, 1, STEP), 2, STEP)
    now = run(domain, away, scale=1e-9, may_jump=False, n_step=1).relative_to(0)
    assert distance_mm(domain, now, still, 1) < 0.1 * distance_mm(domain, away, still, 1)


def test_a_large_jump_is_held_back_less_where_jumps_are_believed(domain):
    jump = np.array([3.0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    away = advance(advance(VolumeTransforms.identity(3), 1, jump), 2, jump)
    steady, jumping = (run(domain, away, may_jump=may, n_step=1) for may in (False, True))
    kept = [some.relative_to(0).translation_mm[1, 0] for some in (steady, jumping)]
    assert kept[1] > 5 * kept[0]


def test_shading_that_stays_does_not_hold_the_head_back(domain):
    coils = domain.shading.changed(np.random.default_rng(2).normal(0, 0.3, N_TERM))
    moved_mm = np.array([4.0, -3.0, 2.0])
    now = run(domain, VolumeTransforms.identity(3), moved_mm=moved_mm, coils=coils, n_step=30)
    found = now.relative_to(1)
    assert np.allclose(found.translation_mm[2], moved_mm, atol=0.1)
    assert np.allclose(found.rotation_rad[2], 0, atol=0.003)


def test_a_volume_that_is_brighter_on_one_side_has_not_moved(domain):
    still = VolumeTransforms.identity(3)
    now = run(domain, still, brighter=(0.2, -0.15, 0.1), n_step=30).relative_to(1)
    assert distance_mm(domain, now, still, 2) < 0.05


def test_eddy_currents_follow_the_gradient(domain):
    now = run(domain, advance(VolumeTransforms.identity(3), 1, STEP), has_eddy=True)
    assert np.allclose(now.eddy[0], 0)  # no gradient, no current
