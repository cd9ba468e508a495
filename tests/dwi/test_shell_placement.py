"""Shells brought to the b=0 volumes, by what the images tell and by how steady the head is."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from shd_bids.dwi.sampling import Domain, interpolate
from shd_bids.dwi.shell_placement import place_shells
from shd_bids.dwi.shells import Shells
from shd_bids.dwi.steadiness import Steadiness
from shd_bids.dwi.transforms import PhaseEncoding, VolumeTransforms
from shd_bids.dwi.volume_registration import advance, distance_mm
from shd_bids.testing.scan import make_affine

SHAPE = (38, 40, 36)
AFFINE = make_affine(SHAPE, 2.0)
SHELLS = Shells(np.array([0.0, 1000.0]), np.array([1, 1, 1, 0]))  # the b=0 volume is the last
STEP = np.array([0.6, -0.9, 0.5, 0.02, -0.015, 0.02])


@pytest.fixture(scope="module")
def domain():
    distance = np.linalg.norm((np.indices(SHAPE).T - (np.array(SHAPE) - 1) / 2) * 2, axis=-1).T
    return Domain.about(distance < 30, AFFINE, [PhaseEncoding(1, 1, 0.05)] * 4)


def placed(domain, image, *, steadiness, other_contrast):
    """Show a head where it is said to lie, but elsewhere in the b=0 volume; give how far it is."""
    still = VolumeTransforms.identity(4)
    moved = advance(still, 0, STEP)
    noise = np.random.default_rng(1).normal(0, 1, (4, len(domain.voxels)))
    seen = [other_contrast(interpolate(image, domain.locate(still, 0), 1))] * 3
    seen.append(interpolate(image, domain.locate(moved, 0), 1))
    signal = (np.stack(seen) + noise).astype(np.float32)
    chosen = domain.brain & (np.arange(len(domain.brain)) % 4 == 0)
    found = place_shells(signal, domain, still, SHELLS, steadiness, chosen=chosen)
    assert distance_mm(domain, found, still, 3) == 0  # the b=0 volume lies where it lay
    return [distance_mm(domain, some, moved, 0) for some in (still, found)]


def blobs():
    image = gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 2.0)
    return (100 + 1000 * image).astype(np.float32)


def test_a_shell_of_another_contrast_is_brought_to_a_b0_volume_stored_out_of_order(domain):
    before, after = placed(
        domain,
        blobs(),
        steadiness=Steadiness(0.05, 0.5),
        other_contrast=lambda v: 100 * np.exp(-v / 150),
    )
    assert before > 1.0
    assert after < 0.25 * before


def test_where_images_tell_nothing_the_head_is_steady(domain):
    even = np.full(SHAPE, 100.0, np.float32)
    before, after = placed(
        domain, even, steadiness=Steadiness(), other_contrast=lambda values: values / 2
    )
    assert after == pytest.approx(before, abs=0.05)
