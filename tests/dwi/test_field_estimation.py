"""The field comes back from images that it distorted."""

from dataclasses import replace

import numpy as np
import pytest
from dwi.distorted import add_noise, distort, sinus_field, true_head

from shd_bids.dwi.distortion import correct_image, field_shift_vox
from shd_bids.dwi.field_estimation import NOMINAL_READOUT_S, estimate_field
from shd_bids.dwi.transforms import PhaseEncoding, VolumeTransforms
from shd_bids.errors import TransformError

READOUT_S = 0.04
SIGMA = 30.0  # SNR 33 in white matter
RESIDUAL = 0.2  # of the distortion, on the small head; 0.3 is what users are promised


def opposite(axis=1, sign=1, readout_s=READOUT_S):
    return [PhaseEncoding(axis, sign, readout_s), PhaseEncoding(axis, -sign, readout_s)]


def scan(head, field, encodings, affine, transforms=None, gains=(1.0, 1.0, 1.0)):
    return np.stack(
        [
            gains[number]
            * add_noise(distort(head, field, encoding, affine, transforms, number), SIGMA, number)
            for number, encoding in enumerate(encodings)
        ]
    )


def residual(found_hz, true_hz, mask):
    """Root mean squared error over root mean squared truth."""
    wrong = (found_hz - true_hz)[mask]
    return np.sqrt(np.mean(wrong**2) / np.mean(true_hz[mask] ** 2))


@pytest.mark.parametrize(
    ("orientation", "axis", "sign"),
    [("RAS", 1, 1), ("LAS", 1, -1), ("LPS", 0, 1), ("oblique", 2, -1)],
)
def test_the_field_is_recovered_for_each_axis_and_sign(orientation, axis, sign):
    head, mask, affine = true_head(orientation=orientation)
    field = sinus_field(head.shape, affine)
    encodings = opposite(axis, sign)
    found = estimate_field(scan(head, field, encodings, affine), affine, encodings)
    assert residual(found.fieldmap_hz, field, mask) < RESIDUAL


def test_signs_given_the_wrong_way_round_turn_the_field_over():
    head, mask, affine = true_head()
    field, encodings = sinus_field(head.shape, affine), opposite()
    images = scan(head, field, encodings, affine)
    found = estimate_field(images, affine, encodings[::-1])
    assert residual(found.fieldmap_hz, field, mask) > 1.5
    assert residual(found.fieldmap_hz, -field, mask) < RESIDUAL


def test_displacements_of_five_voxels_are_recovered_at_the_edge_of_the_brain():
    head, mask, affine = true_head((36, 36, 28), 2.0, "oblique")
    field = sinus_field(head.shape, affine, largest_hz=100.0, width_mm=10.0)
    encodings = opposite(readout_s=0.05)
    images = scan(head, field, encodings, affine)
    found = estimate_field(images, affine, encodings)
    assert np.abs(field[mask]).max() * 0.05 > 4.0
    assert residual(found.fieldmap_hz, field, mask) < RESIDUAL
    displaced = mask & (np.abs(field) * 0.05 > 1.5)
    assert residual(found.fieldmap_hz, field, displaced) < 0.1


def test_readout_times_may_differ():
    head, mask, affine = true_head()
    field = sinus_field(head.shape, affine)
    encodings = [PhaseEncoding(1, 1, 0.05), PhaseEncoding(1, -1, 0.03)]
    found = estimate_field(scan(head, field, encodings, affine), affine, encodings)
    assert residual(found.fieldmap_hz, field, mask) < RESIDUAL


def test_four_directions_agree_on_one_field():
    head, mask, affine = true_head()
    field, encodings = sinus_field(head.shape, affine), [*opposite(1), *opposite(0)]
    images = scan(head, field, encodings, affine, gains=(1.0,) * 4)
    found = estimate_field(images, affine, encodings)
    assert residual(found.fieldmap_hz, field, mask) < RESIDUAL


def test_head_movement_and_gain_between_the_images_are_told_from_the_field():
    head, mask, affine = true_head((36, 36, 28), 2.0, "oblique")
    field, encodings = sinus_field(head.shape, affine, largest_hz=60.0), opposite()
    along = affine[:3, 1] / 2.0
    shift = np.array([1.2, 0.4, -0.8])
    shift -= along * (shift @ along)
    transforms = VolumeTransforms(
        np.stack([np.zeros(3), shift]),
        np.deg2rad([[0.0, 0, 0], [1.5, -1.0, 2.0]]),
        np.zeros((2, 4)),
    )
    images = scan(head, field, encodings, affine, transforms, gains=(1.0, 1.3))
    found = estimate_field(images, affine, encodings)
    assert residual(found.fieldmap_hz, field, mask) < 0.25
    assert np.abs(found.transforms.translation_mm - transforms.translation_mm).max() < 0.2
    turned = found.transforms.rotations() @ np.moveaxis(transforms.rotations(), 1, 2)
    assert np.rad2deg(np.arccos((np.trace(turned[1]) - 1) / 2)) < 0.6
    assert not found.transforms.translation_mm[0].any()


def test_images_without_distortion_have_next_to_no_field():
    head, mask, affine = true_head()
    images = scan(head, np.zeros(head.shape), opposite(), affine)
    found = estimate_field(images, affine, opposite())
    assert np.sqrt(np.mean(found.fieldmap_hz[mask] ** 2)) * READOUT_S < 0.1  # voxels


def test_no_image_folds():
    head, _, affine = true_head()
    field = sinus_field(head.shape, affine, largest_hz=200.0, width_mm=8.0)
    images = scan(head, field, opposite(), affine)
    found = estimate_field(images, affine, opposite())
    for encoding in opposite():
        stretch = np.gradient(field_shift_vox(found.fieldmap_hz, encoding), axis=1)
        assert stretch.min() > -1


def test_corrected_images_show_the_true_head():
    head, mask, affine = true_head()
    field, encodings = sinus_field(head.shape, affine), opposite()
    images = scan(head, field, encodings, affine)
    found = estimate_field(images, affine, encodings)
    for number, encoding in enumerate(encodings):
        corrected = correct_image(
            images[number], found.fieldmap_hz, encoding, affine, found.transforms, number
        )
        before = np.linalg.norm((images[number] - head)[mask])
        assert np.linalg.norm((corrected - head)[mask]) < 0.5 * before


def test_without_readout_times_the_displacement_stays_and_says_so(caplog):
    head, mask, affine = true_head()
    field, encodings = sinus_field(head.shape, affine), opposite()
    images = scan(head, field, encodings, affine)
    unknown = [replace(encoding, readout_s=0.0) for encoding in encodings]
    found = estimate_field(images, affine, unknown)
    assert not found.readout_known
    assert "TotalReadoutTime is not known" in caplog.text
    assert [one.readout_s for one in found.phase_encodings] == [NOMINAL_READOUT_S] * 2
    shift = field_shift_vox(found.fieldmap_hz, found.phase_encodings[0])
    assert residual(shift, READOUT_S * field, mask) < RESIDUAL


def test_images_that_are_not_opposite_are_refused():
    images = np.ones((2, 4, 4, 4), np.float32)
    for other in (PhaseEncoding(1, 1, 0.05), PhaseEncoding(0, -1, 0.05)):
        with pytest.raises(TransformError, match="expected two that are opposite"):
            estimate_field(images, np.eye(4), [PhaseEncoding(1, 1, 0.05), other])


def test_an_image_that_shows_nothing_is_refused():
    images = np.ones((2, 4, 4, 4), np.float32)
    images[1] = 0
    with pytest.raises(TransformError, match=r"Image 2 .* shows nothing"):
        estimate_field(images, np.eye(4), opposite())
