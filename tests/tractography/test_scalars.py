"""Scalar maps keep their laws: integrals, rotations, colours."""

import subprocess

import nibabel as nib
import numpy as np
import pytest
from tractography.fodfs import delta_fodf, random_directions, save_image

from shd_bids.sphere.harmonics import sh_basis
from shd_bids.tractography.directions import spiral
from shd_bids.tractography.peaks import find_peaks
from shd_bids.tractography.scalars import (
    afd_max,
    afd_total,
    directionally_encoded_colour,
    gfa,
    nufo,
)


def _column(fodfs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the fODFs as an image of one column, and a mask of all of it."""
    image = fodfs.reshape(-1, 1, 1, fodfs.shape[-1]).astype(np.float32)
    return image, np.ones(image.shape[:3], dtype=bool)


def test_afd_total_is_the_integral_of_the_fodf():
    fodf, _ = _column(0.7 * delta_fodf(random_directions(20)))
    basis = sh_basis(spiral(10_000), 8)
    integral = 4 * np.pi * np.mean(fodf[:, 0, 0] @ basis.T, axis=1)
    np.testing.assert_allclose(afd_total(fodf).ravel(), 0.7, rtol=1e-5)
    np.testing.assert_allclose(integral, 0.7, rtol=1e-3)


def test_afd_max_is_the_height_of_the_largest_peak():
    fodf, mask = _column(0.5 * delta_fodf(random_directions(200)))
    height = find_peaks(fodf, mask).amplitudes[..., 0]
    ratio = afd_max(fodf, mask) / height
    assert ratio.max() < 1 + 1e-5
    assert ratio.min() > 0.98
    assert np.all(afd_max(fodf, ~mask) == 0)


def test_nufo_counts_the_fibres_above_both_thresholds():
    x, y, z = np.eye(3)
    fodf, mask = _column(
        np.stack(
            [
                delta_fodf(x),
                (delta_fodf(x) + delta_fodf(y)) / 2,
                (delta_fodf(x) + delta_fodf(y) + delta_fodf(z)) / 3,
                0.001 * delta_fodf(x),
            ]
        )
    )
    peaks = find_peaks(fodf, mask)
    np.testing.assert_array_equal(nufo(peaks).ravel(), [1, 2, 3, 0])
    np.testing.assert_array_equal(nufo(peaks, absolute_threshold=1.5).ravel(), [1, 2, 0, 0])


def test_gfa_is_zero_for_a_ball_does_not_depend_on_scale_or_direction():
    ball = np.zeros((1, 45))
    ball[0, 0] = 0.28
    empty = np.zeros((1, 45))
    sticks = delta_fodf(random_directions(20))
    fodf, _ = _column(np.concatenate([ball, empty, sticks, 3 * sticks]))
    values = gfa(fodf).ravel()
    np.testing.assert_allclose(values[:2], 0.0, atol=1e-6)
    np.testing.assert_allclose(values[2:], np.sqrt(1 - 1 / 45), rtol=1e-5)


def test_fibres_along_the_axes_are_red_green_and_blue():
    fodf, mask = _column(delta_fodf(np.eye(3), 12))
    colour = directionally_encoded_colour(fodf, mask)[:, 0, 0]
    assert np.all(np.diag(colour) > 0.9)
    off = colour[~np.eye(3, dtype=bool)]
    assert off.max() < 0.3


def test_turning_the_fibre_turns_the_colour():
    directions = random_directions(50)
    fodf, mask = _column(delta_fodf(directions))
    turned, _ = _column(delta_fodf(directions[:, [1, 2, 0]]))
    mirrored, _ = _column(delta_fodf(directions * [-1, 1, 1]))
    colour = directionally_encoded_colour(fodf, mask)
    np.testing.assert_allclose(
        directionally_encoded_colour(turned, mask), colour[..., [1, 2, 0]], atol=0.02
    )
    np.testing.assert_allclose(directionally_encoded_colour(mirrored, mask), colour, atol=0.02)


def test_the_length_of_the_colour_is_the_fibre_density():
    fodf, mask = _column(0.4 * delta_fodf(random_directions(20)))
    fodf[3] = 0
    colour = directionally_encoded_colour(fodf, mask)
    np.testing.assert_allclose(np.linalg.norm(colour, axis=-1), afd_total(fodf), rtol=1e-4)


def test_maps_are_float32_and_finite_where_the_fodf_is_not():
    fodf, mask = _column(delta_fodf(random_directions(3)))
    fodf[1] = 0
    for values in (afd_total(fodf), afd_max(fodf, mask), gfa(fodf)):
        assert values.dtype == np.float32
        assert np.all(np.isfinite(values))
    fodf[2] = np.nan
    assert np.all(np.isfinite(directionally_encoded_colour(fodf, mask)))


@pytest.mark.needs_tool("fod2dec")
def test_colours_agree_with_mrtrix(tmp_path):
    fodf, mask = _column(delta_fodf(random_directions(50)))
    fodf += 0.5 * _column(delta_fodf(random_directions(50, seed=1)))[0]
    fodf_file = save_image(fodf, np.eye(4), tmp_path / "fod.nii.gz")
    subprocess.run(
        ["fod2dec", "-quiet", "-nthreads", "1", fodf_file, tmp_path / "dec.nii.gz"], check=True
    )
    theirs = nib.load(tmp_path / "dec.nii.gz").get_fdata(dtype=np.float32)
    ours = directionally_encoded_colour(fodf, mask)
    ours /= np.linalg.norm(ours, axis=-1, keepdims=True)
    theirs /= np.linalg.norm(theirs, axis=-1, keepdims=True)
    # MRtrix3 integrates over 1281 vertices of unequal area.
    np.testing.assert_allclose(ours, theirs, atol=0.05)
