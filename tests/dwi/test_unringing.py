"""Ringing beside edges is removed; what does not ring stays as it is."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, gaussian_filter

from shd_bids.dwi.unringing import find_slice_axis, remove_gibbs_ringing, why_not_unring

N, FINE = 48, 8


def disc() -> np.ndarray:
    """Give a bright disc with a hole on a fine grid."""
    y, x = np.mgrid[: N * FINE, : N * FINE] / (N * FINE) - 0.5
    return 1000.0 * ((x / 0.38) ** 2 + (y / 0.42) ** 2 < 1) * ((x**2 + (y - 0.1) ** 2) > 0.12**2)


def scan(fine: np.ndarray) -> np.ndarray:
    """Sample the middle of k-space, as a scanner does."""
    frequency = np.fft.fftfreq(N, 1 / N)
    keep = np.ix_(frequency.astype(int), frequency.astype(int))
    centre = np.exp(1j * np.pi * frequency * (FINE - 1) / (N * FINE))  # of a block of fine pixels
    spectrum = np.fft.fft2(fine)[keep] * np.outer(centre, centre)
    return np.abs(np.fft.ifft2(spectrum)).astype(np.float32) / FINE**2


def as_series(image: np.ndarray) -> np.ndarray:
    return np.repeat(image[:, :, None, None], 2, axis=3).astype(np.float32)


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.fixture(scope="module")
def ringing() -> np.ndarray:
    return as_series(scan(disc()))


def test_plateaus_beside_edges_become_flat(ringing):
    share = disc().reshape(N, FINE, N, FINE).mean(axis=(1, 3)) / 1000
    inside = binary_erosion(share == 1, iterations=2)
    before = (ringing[:, :, 0] - 1000)[inside]
    after = (remove_gibbs_ringing(ringing)[:, :, 0] - 1000)[inside]
    assert rms(after) < 0.35 * rms(before)


def test_a_smooth_image_stays_as_it_is():
    fine = gaussian_filter(disc(), 2.5 * FINE)
    smooth = as_series(fine.reshape(N, FINE, N, FINE).mean(axis=(1, 3)))
    assert rms(remove_gibbs_ringing(smooth) - smooth) < 0.003 * 1000


def test_a_noisy_image_without_ringing_comes_no_further_from_the_truth():
    fine = gaussian_filter(disc(), 2.5 * FINE)
    smooth = as_series(fine.reshape(N, FINE, N, FINE).mean(axis=(1, 3)))
    noise = np.random.default_rng(0).normal(scale=20, size=smooth.shape)
    noisy = np.abs(smooth + noise).astype(np.float32)
    assert rms(remove_gibbs_ringing(noisy) - smooth) < rms(noisy - smooth)


@pytest.mark.parametrize("axis", [0, 1])
def test_the_slices_may_lie_across_any_axis(ringing, axis):
    turned = np.moveaxis(ringing, 2, axis)
    unrung = remove_gibbs_ringing(turned, slice_axis=axis)
    np.testing.assert_array_equal(np.moveaxis(unrung, axis, 2), remove_gibbs_ringing(ringing))


def test_processes_do_not_change_the_result(ringing):
    one, two = (remove_gibbs_ringing(ringing, n_processes=n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_the_slice_axis_is_the_last_one_unless_the_sidecar_says_otherwise():
    assert find_slice_axis({}) == 2
    assert find_slice_axis({"SliceEncodingDirection": "i-"}) == 0


def test_full_sampling_is_no_reason_to_skip():
    for metadata in ({}, {"PartialFourier": 1}, {"PartialFourier": 1.0}):
        assert why_not_unring(metadata, (96, 96, 60)) is None


def test_partial_fourier_sampling_is_a_reason_to_skip():
    assert "0.75 of k-space" in str(why_not_unring({"PartialFourier": 0.75}, (96, 96, 60)))


def test_slices_of_few_voxels_are_a_reason_to_skip():
    assert "axis k are only 4 voxels wide" in str(why_not_unring({}, (64, 4, 40)))
    assert why_not_unring({"SliceEncodingDirection": "j"}, (64, 4, 40)) is None
