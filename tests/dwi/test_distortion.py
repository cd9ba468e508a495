"""What a known field does is undone; images and their encodings change grids together."""

import numpy as np
import pytest
from dwi.distorted import distort, sinus_field, true_head

from shd_bids.dwi.distortion import (
    correct_image,
    distortion_measures,
    encode_on_grid,
    field_displacement_mm,
    resample_to_grid,
)
from shd_bids.dwi.transforms import PhaseEncoding, VolumeTransforms
from shd_bids.errors import TransformError
from shd_bids.testing.scan import make_affine

STILL = VolumeTransforms.identity(1)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_true_field_undoes_the_distortion_and_its_opposite_does_not(axis, sign):
    head, mask, affine = true_head(orientation="oblique")
    field = sinus_field(head.shape, affine).astype(np.float32)
    encoding = PhaseEncoding(axis, sign, 0.04)
    observed = distort(head, field, encoding, affine)
    distance = [
        np.linalg.norm((image - head)[mask])
        for image in (
            correct_image(observed, field, encoding, affine, STILL, 0),
            observed,
            correct_image(observed, -field, encoding, affine, STILL, 0),
        )
    ]
    assert distance[0] < 0.5 * distance[1]
    assert distance[2] > distance[1]


def test_displacement_in_mm_follows_voxel_size_and_sign():
    field = np.full((2, 2, 2), 20.0, np.float32)
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    for axis, expected in enumerate([2.0, 3.0, 4.0]):
        for sign in (1, -1):
            found = field_displacement_mm(field, PhaseEncoding(axis, sign, 0.05), affine)
            assert np.allclose(found, sign * expected)


def test_an_image_of_other_orientation_lands_where_the_world_says():
    head, _, affine = true_head(orientation="RAS")
    flipped = affine.copy()
    flipped[:3, 0] *= -1
    flipped[:3, 3] += affine[:3, 0] * (head.shape[0] - 1)
    stored = head[::-1].transpose(1, 0, 2)
    found = resample_to_grid(stored, flipped[:, [1, 0, 2, 3]], affine, head.shape)
    assert np.allclose(found, head, atol=0.01 * head.max())


@pytest.mark.parametrize("orientation", ["LAS", "LPS", "oblique"])
def test_the_displacement_in_the_world_survives_a_change_of_grid(orientation):
    source = make_affine((20, 20, 20), 2.0, orientation)[:, [1, 0, 2, 3]]
    target = make_affine((20, 20, 20), 3.0, "RAS")
    encoding = PhaseEncoding(0, -1, 0.06)
    found = encode_on_grid(encoding, source, target, source="x_epi.nii.gz")
    before = source[:3, encoding.axis] * encoding.sign * encoding.readout_s
    after = target[:3, found.axis] * found.sign * found.readout_s
    assert np.linalg.norm(before) == pytest.approx(np.linalg.norm(after))
    assert before @ after > 0.9 * np.linalg.norm(before) ** 2


def test_a_phase_axis_between_the_axes_of_the_grid_is_refused():
    turn = np.deg2rad(40)
    source = np.eye(4)
    source[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    with pytest.raises(TransformError, match=r"x_epi.* is 40 degrees off every axis"):
        encode_on_grid(PhaseEncoding(1, 1, 0.05), source, np.eye(4), source="x_epi.nii.gz")


def test_images_that_agree_differ_by_nothing_whatever_their_gain():
    image = np.random.default_rng(0).uniform(1, 2, (4, 4, 4))
    measures = distortion_measures(
        np.full((4, 4, 4), -2.0), [image, image[::-1]], [image, 3 * image], image > 0
    )
    assert measures["max_displacement_mm"] == measures["rms_displacement_mm"] == 2.0
    assert measures["difference_before"] > 0.1
    assert measures["difference_after"] == pytest.approx(0, abs=1e-12)
