"""Volumes brought to a target whose place is known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from shd_bids.dwi.sampling import Domain, interpolate
from shd_bids.dwi.transforms import PhaseEncoding, VolumeTransforms
from shd_bids.dwi.volume_registration import advance, derivatives, distance_mm, register_volume
from shd_bids.testing.scan import make_affine

SHAPE = (26, 28, 24)
AFFINE = make_affine(SHAPE, 2.0)
STEP = np.array([1.5, -2.0, 1.0, 0.04, -0.03, 0.05, 0.01, -0.01, 0.015, 0.4])


def blobs(seed=0):
    image = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 2.0)
    return (1000 + 5000 * image).astype(np.float32)


@pytest.fixture
def domain():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[6:20, 6:22, 6:18] = True
    return Domain.about(mask, AFFINE, [PhaseEncoding(1, 1, 0.05)] * 3)


def test_derivatives_are_those_of_what_is_seen(domain):
    image, base = blobs(), advance(VolumeTransforms.identity(3), 1, STEP)

    def seen(step):
        moved = advance(base, 1, step)
        return interpolate(gaussian_filter(image, 1), domain.locate(moved, 1), 3)[domain.brain]

    slope = domain.gradient_ras(interpolate(gaussian_filter(image, 1), domain.locate(base, 1), 3))
    found = derivatives(slope, domain.centred_mm(), domain, base, 1)[:, domain.brain]
    for row, unit in enumerate(np.eye(10) * 0.004):
        expected = (seen(unit) - seen(-unit)) / 0.008
        assert np.corrcoef(found[row], expected)[0, 1] > 0.99
        assert found[row] @ expected / (expected @ expected) == pytest.approx(1, abs=0.15)


def test_a_displacement_is_found_again(domain):
    image, still = blobs(), VolumeTransforms.identity(3)
    true = advance(still, 1, STEP[:6])
    target = interpolate(image, domain.locate(true, 1), 1)
    fit = register_volume(image, target * 0.7, domain, still, 1, chosen=domain.brain)
    assert not fit.failed
    assert distance_mm(domain, fit.transforms, true, 1) < 0.05


def test_a_volume_that_does_not_show_the_brain_is_said_to_fail(domain):
    far = advance(VolumeTransforms.identity(3), 1, np.array([200.0, 0, 0, 0, 0, 0]))
    target = np.ones(len(domain.voxels), np.float32)
    fit = register_volume(blobs(), target, domain, far, 1, chosen=domain.brain)
    assert "0% of the brain" in fit.failed
    assert fit.transforms is far
