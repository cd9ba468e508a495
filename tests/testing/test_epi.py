"""The scanner that records a moved, distorted head."""

import numpy as np
import pytest

from shd_bids.dwi.transforms import PhaseEncoding, VolumeTransforms
from shd_bids.testing.epi import Scanner, push_along
from shd_bids.testing.scan import make_affine

SHAPE, VOXEL_MM = (18, 18, 18), 4.0
FORTH, BACK = PhaseEncoding(1, 1, 0.05), PhaseEncoding(1, -1, 0.05)
STILL = VolumeTransforms.identity(1)


def one_volume(shift=(0, 0, 0), angles=(0, 0, 0), eddy=(0, 0, 0, 0)):
    return VolumeTransforms(*(np.array([row], dtype=float) for row in (shift, angles, eddy)))


def b0_image(scanner, transforms=STILL, phase=FORTH):
    signal = scanner.place_head(transforms, 0).signal(0.0, np.zeros(3))
    return scanner.record(signal, transforms, 0, phase)


def centre_of_mass(image, axis):
    profile = image.sum(axis=tuple(a for a in range(3) if a != axis))
    return (profile * np.arange(len(profile))).sum() / profile.sum()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_pushing_keeps_the_sum_even_where_the_image_folds(axis):
    random = np.random.default_rng(0)
    image = random.random((6, 7, 8))
    edges = np.array(image.shape) + np.eye(3, dtype=int)[axis]
    pushed = push_along(image, random.normal(0, 3, edges), axis)
    assert np.allclose(pushed.sum(axis=axis), image.sum(axis=axis))
    assert pushed.min() >= 0


def test_pushing_by_whole_cells_is_a_roll():
    image = np.random.default_rng(0).random((4, 5, 6))
    pushed = push_along(image, np.full((4, 6, 6), 2.0), 1)
    assert np.allclose(pushed, np.roll(image, 2, axis=1))


def test_stretching_to_twice_the_length_halves_the_signal():
    line = np.r_[0, 0, np.ones(4), 0, 0, 0, 0]
    pushed = push_along(line, np.arange(11.0) - 2, 0)
    assert np.allclose(pushed, np.r_[0, 0, np.full(8, 0.5)])


def test_distortion_and_eddy_currents_keep_the_signal():
    eddy = one_volume(eddy=(0.02, -0.03, 0.02, 0.7))
    plain = b0_image(Scanner(SHAPE, make_affine(SHAPE, VOXEL_MM)))
    distorted = b0_image(Scanner(SHAPE, make_affine(SHAPE, VOXEL_MM), field_hz=80.0), eddy)
    assert np.abs(distorted - plain).max() > 500
    assert np.allclose(distorted.sum(axis=1), plain.sum(axis=1), rtol=1e-6)


def test_a_constant_field_moves_the_image_as_bids_says(monkeypatch):
    monkeypatch.setattr(
        "shd_bids.testing.epi.off_resonance_hz", lambda points, hz: np.full(points.shape[:-1], hz)
    )
    affine = make_affine(SHAPE, VOXEL_MM)
    plain, shifted = Scanner(SHAPE, affine), Scanner(SHAPE, affine, field_hz=20.0)
    assert np.allclose(b0_image(shifted), np.roll(b0_image(plain), 1, axis=1))  # 20 Hz x 50 ms
    back = np.roll(b0_image(plain), -1, axis=1)
    assert np.allclose(b0_image(shifted, phase=BACK), back)


def test_opposite_phase_encoding_displaces_as_the_opposite_field_would():
    affine = make_affine(SHAPE, VOXEL_MM)
    images = [
        b0_image(Scanner(SHAPE, affine, field_hz=40.0 * sign), phase=phase)
        for sign, phase in ((1, FORTH), (-1, BACK), (1, BACK))
    ]
    assert np.allclose(images[0], images[1])
    assert np.abs(images[0] - images[2]).max() > 100


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "oblique"])
def test_the_head_is_found_where_the_convention_says(orientation):
    affine = make_affine(SHAPE, VOXEL_MM, orientation)
    shift_mm = np.array([3.0, -4.0, 2.0])
    scanner = Scanner(SHAPE, affine)
    images = b0_image(scanner), b0_image(scanner, one_volume(shift_mm))
    voxels = [[centre_of_mass(image, axis) for axis in range(3)] for image in images]
    assert np.allclose(affine[:3, :3] @ (np.array(voxels[1]) - voxels[0]), shift_mm, atol=0.05)


def test_a_quarter_turn_of_the_head_turns_its_voxels():
    scanner = Scanner(SHAPE, make_affine(SHAPE, VOXEL_MM, "RAS"))
    turned = b0_image(scanner, one_volume(angles=(0, 0, np.pi / 2)))
    assert np.allclose(turned, np.rot90(b0_image(scanner), axes=(0, 1)), atol=1e-6)


def test_a_turned_head_sees_the_gradient_turned_back():
    scanner = Scanner(SHAPE, make_affine(SHAPE, VOXEL_MM, "RAS"))
    turned = one_volume(angles=(0, 0, np.pi / 2))  # the nose from +y to -x
    upright = scanner.place_head(STILL, 0).signal(1000.0, np.array([0.0, 1, 0]))
    moved = scanner.place_head(turned, 0).signal(1000.0, np.array([-1.0, 0, 0]))
    assert np.allclose(moved, np.rot90(upright, axes=(0, 1)), atol=1e-6)


def test_the_field_moves_with_the_head_and_the_coil_does_not():
    scanner = Scanner(SHAPE, make_affine(SHAPE, VOXEL_MM, "RAS"), field_hz=40.0)
    moved = b0_image(scanner, one_volume((VOXEL_MM, 0, 0)))
    assert np.allclose(moved, np.roll(b0_image(scanner), 1, axis=0), rtol=1e-4, atol=0.1)
    shaded = Scanner(SHAPE, scanner.affine, shading=0.3)
    moved = b0_image(shaded, one_volume((VOXEL_MM, 0, 0)))
    assert not np.allclose(moved, np.roll(b0_image(shaded), 1, axis=0), rtol=0.02, atol=20)


def test_truncating_k_space_keeps_what_is_smooth_and_rings_at_edges():
    scanner = Scanner(SHAPE, make_affine(SHAPE, VOXEL_MM), gibbs=True)
    x = (np.arange(36) + 0.5) / 2 - 0.5  # of the cells, in voxels
    wave = 1 + np.cos(2 * np.pi * x / 9)[:, None, None] * np.ones((36, 36, 36))
    expected = 1 + np.cos(2 * np.pi * np.arange(18) / 9)
    assert np.allclose(scanner.reconstruct(wave), expected[:, None, None])
    edge = np.zeros((36, 36, 36))
    edge[:17] = 1
    assert scanner.reconstruct(edge).max() > 1.05
    assert scanner.reconstruct(edge).sum() == pytest.approx(edge.sum() / 8)
