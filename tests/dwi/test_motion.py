"""Head motion, eddy currents and dropout of a moving phantom, found again."""

import numpy as np
import pytest
from dwi.moving_head import encodings, scan_head

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.motion import correct_motion
from shd_bids.dwi.sampling import Domain
from shd_bids.dwi.shells import cluster_shells
from shd_bids.dwi.transforms import VolumeTransforms
from shd_bids.dwi.volume_registration import distance_mm
from shd_bids.testing.motion import draw_motion
from shd_bids.testing.scan import make_affine
from shd_bids.testing.scheme import make_scheme

SHAPE = (30, 30, 24)
AFFINE = make_affine(SHAPE, 2.4)
DROPPED = [(4, 9), (7, 12), (11, 8)]


@pytest.fixture(scope="module")
def scan():
    gradients = GradientTable(*make_scheme({0: 3, 1000: 16}, seed=2))
    shells = cluster_shells(gradients.bvals)
    generator = np.random.default_rng(1)
    drift = draw_motion(19, 3.0, 3.0, generator=generator)
    eddy = gradients.bvecs_ras @ generator.normal(0, [0.01, 0.01, 0.01, 0.4], (3, 4))
    truth = VolumeTransforms(drift.translation_mm, drift.rotation_rad, eddy)
    return gradients, shells, truth, *scan_head(SHAPE, AFFINE, gradients, truth)


@pytest.fixture(scope="module")
def found(scan):
    gradients, shells, _, dwi, mask = scan
    spoilt = dwi.copy()
    for volume, level in DROPPED:
        spoilt[:, :, level, volume] *= 0.4
    return correct_motion(spoilt, AFFINE, gradients, shells, mask, encodings(19))


def test_volumes_are_found_where_they_are(scan, found):
    gradients, _, truth, _, mask = scan
    domain = Domain.about(mask, AFFINE, encodings(19))
    still = VolumeTransforms.identity(gradients.n_volume)
    before = [distance_mm(domain, still, truth, v) for v in range(19)]
    after = [distance_mm(domain, found.transforms, truth, v) for v in range(19)]
    assert np.median(after) < 0.4 * np.median(before)
    assert np.max(after) < 0.6 * np.median(before)
    assert not found.failed


def test_b0_volumes_are_found_within_a_fifth_of_a_millimetre(scan, found):
    _, shells, truth, _, _ = scan
    b0 = shells.volumes(0)
    moved = found.transforms.translation_mm[b0] - truth.translation_mm[b0]
    assert np.linalg.norm(moved, axis=1).max() < 0.2


def test_the_first_b0_volume_is_the_reference(found):
    assert np.allclose(found.transforms.translation_mm[0], 0)
    assert np.allclose(found.transforms.rotation_rad[0], 0)
    assert np.allclose(found.transforms.eddy[0], 0)


def test_slices_that_dropped_are_found(found):
    assert all(found.outliers[at] for at in DROPPED)
    assert found.outliers.sum() <= len(DROPPED) + 1


def test_slices_that_dropped_come_close_to_what_they_would_have_shown(scan, found):
    _, _, _, dwi, mask = scan
    for volume, level in DROPPED:
        inside = mask[:, :, level]
        error = (found.replaced - dwi)[:, :, level, volume][inside]
        assert np.abs(error).mean() < 0.25 * 0.6 * dwi[:, :, level, volume][inside].mean()


def test_slices_that_did_not_drop_are_as_they_were(scan, found):
    dwi, kept = scan[3], ~found.outliers
    assert np.array_equal(found.replaced.T[kept], dwi.T[kept])


def test_each_sweep_says_how_far_it_moved_the_volumes(found):
    assert {entry["pass"] for entry in found.passes} == {"coarse", "middle", "fine"}
    assert found.passes[-1]["rms_change_mm"] < 0.1


def test_eddy_currents_are_linear_in_the_gradient(scan, found):
    gradients, shells, truth, _, _ = scan
    dwi = shells.index > 0
    applied, eddy = gradients.bvecs_ras[dwi], found.transforms.eddy[dwi]
    fitted = applied @ np.linalg.lstsq(applied, eddy)[0]
    np.testing.assert_allclose(eddy, fitted, atol=1e-6)
    error, size = np.abs(eddy - truth.eddy[dwi]), np.abs(truth.eddy[dwi])
    assert np.median(error[:, :3]) < 0.4 * np.median(size[:, :3])
    assert np.median(error[:, 3]) < 0.4 * np.median(size[:, 3])
