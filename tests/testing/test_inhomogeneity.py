"""The fields over the phantom's head."""

import numpy as np
import pytest

from shd_bids.testing.epi import Scanner
from shd_bids.testing.inhomogeneity import coil_shading, off_resonance_hz
from shd_bids.testing.scan import make_affine
from shd_bids.testing.truth import sample_truth

SHAPE, VOXEL_MM = (24, 24, 20), 3.0
AFFINE = make_affine(SHAPE, VOXEL_MM)
BRAIN = sample_truth(SHAPE, AFFINE)[0].tissue.sum(axis=-1) > 0.5


def test_the_brain_meets_both_signs_of_the_field_and_nearly_its_peak():
    field_hz, _ = Scanner(SHAPE, AFFINE, field_hz=60.0).truth()
    assert 50 < field_hz[BRAIN].max() <= 60.5
    assert field_hz[BRAIN].min() < -20


@pytest.mark.parametrize("sign", [1, -1])
def test_the_image_does_not_fold_at_80_hz_and_3_mm(sign: int):
    field_hz, _ = Scanner(SHAPE, AFFINE, field_hz=80.0).truth()
    shift_vox = sign * 0.0525 * field_hz
    assert np.gradient(shift_vox, axis=1)[BRAIN].min() > -1


def test_the_field_is_strongest_low_in_front():
    front, back = off_resonance_hz(np.array([[0.0, 20.0, -17.0], [0.0, -20.0, 17.0]]), 50.0)
    assert front == pytest.approx(50.0, rel=0.05)
    assert abs(back) < 1


def test_shading_is_as_strong_as_asked():
    points = Scanner(SHAPE, AFFINE).offsets_mm(n_fine=(1, 1, 1))[BRAIN]
    assert np.ptp(np.log(coil_shading(points, 0.3))) == pytest.approx(0.6, rel=0.15)
    assert np.all(coil_shading(points, 0.0) == 1)
