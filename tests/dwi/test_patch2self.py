"""Patch2Self keeps what volumes share, drops what they do not, and leaves no volume out."""

import numpy as np
import pytest

from shd_bids.dwi.patch2self import denoise_patch2self

SIGMA = 10.0
N_B0, N_VOLUME = 8, 37


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(12, 11, 10, 4))
    series = 1000 + 50 * weights @ rng.normal(size=(4, N_VOLUME))
    series[..., -N_B0:] = 3000 + 100 * weights[..., :1]
    return series.astype(np.float32)


@pytest.fixture(scope="module")
def noisy(clean) -> np.ndarray:
    noise = np.random.default_rng(1).normal(scale=SIGMA, size=clean.shape)
    return (clean + noise).astype(np.float32)


@pytest.fixture(scope="module")
def is_b0() -> np.ndarray:
    return np.arange(N_VOLUME) >= N_VOLUME - N_B0  # the last ones, as some scanners do


def rms(difference: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(np.square(difference), axis=(0, 1, 2)))


def test_every_volume_comes_closer_to_the_truth(clean, noisy, is_b0):
    denoised, _ = denoise_patch2self(noisy, is_b0)
    gain = rms(denoised - clean) / rms(noisy - clean)
    assert gain.max() < 1.1
    assert np.median(gain) < 0.5


def test_the_noise_level_is_found(noisy, is_b0):
    _, sigma = denoise_patch2self(noisy, is_b0)
    assert np.median(sigma) == pytest.approx(SIGMA, rel=0.05)


def test_the_order_of_the_volumes_does_not_matter(noisy, is_b0):
    order = np.random.default_rng(2).permutation(N_VOLUME)
    denoised, sigma = denoise_patch2self(noisy, is_b0)
    shuffled, same_sigma = denoise_patch2self(noisy[..., order], is_b0[order])
    np.testing.assert_allclose(shuffled, denoised[..., order], rtol=1e-4)
    np.testing.assert_allclose(same_sigma, sigma, rtol=1e-3)


@pytest.mark.parametrize("volume", [0, N_VOLUME - 1])
def test_a_volume_is_what_least_squares_predicts_from_the_others(noisy, is_b0, volume):
    others = (is_b0 == is_b0[volume]) & (np.arange(N_VOLUME) != volume)
    voxels = noisy.reshape(-1, N_VOLUME).astype(np.float64)
    design = np.column_stack([np.ones(len(voxels)), voxels[:, others]])
    solution = np.linalg.lstsq(design, voxels[:, volume])[0]
    denoised, _ = denoise_patch2self(noisy, is_b0)
    np.testing.assert_allclose(denoised[..., volume].ravel(), design @ solution, rtol=1e-4)


@pytest.mark.parametrize("n_b0", [1, 2, 7])
def test_few_b0_volumes_come_back_as_they_are_where_the_head_lay(noisy, n_b0):
    last = np.arange(N_VOLUME) >= N_VOLUME - n_b0
    moved = noisy.copy()
    for volume in np.flatnonzero(last):
        moved[..., volume] = np.roll(moved[..., volume], volume, axis=0)
    denoised, _ = denoise_patch2self(moved, last)
    np.testing.assert_array_equal(denoised[..., last], moved[..., last])


def test_voxels_outside_the_mask_and_empty_ones_come_back_untouched(noisy, is_b0):
    with_air = noisy.copy()
    with_air[:2] = 0
    mask = np.ones(noisy.shape[:3], dtype=bool)
    mask[:, :3] = False
    denoised, sigma = denoise_patch2self(with_air, is_b0, mask)
    np.testing.assert_array_equal(denoised[:2], 0)
    np.testing.assert_array_equal(denoised[:, :3], with_air[:, :3])
    assert not sigma[:2].any()
    assert not sigma[:, :3].any()


def test_a_series_without_noise_comes_back_unchanged(clean, is_b0):
    denoised, _ = denoise_patch2self(clean, is_b0)
    np.testing.assert_allclose(denoised, clean, rtol=1e-3)
