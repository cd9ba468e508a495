"""Ringing beside edges is removed; what does not ring stays as it is."""

import subprocess
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_erosion, gaussian_filter

from shd_bids.dwi.denoise import denoise_mppca
from shd_bids.dwi.unringing import (
    find_slice_axis,
    remove_gibbs_ringing,
    sampled_share,
    why_not_unring,
)
from shd_bids.testing.artefacts import Artefacts, make_artefact_phantom

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


@pytest.fixture(scope="module")
def smooth() -> np.ndarray:
    fine = gaussian_filter(disc(), 2.5 * FINE)
    return as_series(fine.reshape(N, FINE, N, FINE).mean(axis=(1, 3)))


def test_plateaus_beside_edges_become_flat(ringing):
    share = disc().reshape(N, FINE, N, FINE).mean(axis=(1, 3)) / 1000
    inside = binary_erosion(share == 1, iterations=2)
    before = (ringing[:, :, 0] - 1000)[inside]
    after = (remove_gibbs_ringing(ringing)[:, :, 0] - 1000)[inside]
    assert rms(after) < 0.35 * rms(before)


def test_a_smooth_image_stays_as_it_is(smooth):
    assert rms(remove_gibbs_ringing(smooth) - smooth) < 0.003 * 1000


@pytest.mark.parametrize("shape", [(16, 20), (17, 21), (5, 4)])
def test_a_constant_stays(shape):
    constant = np.full((*shape, 2, 1), 700.0)
    np.testing.assert_allclose(remove_gibbs_ringing(constant), constant, rtol=1e-5)


@pytest.mark.parametrize("n", [40, 41])
@pytest.mark.parametrize("centre", [0.0, 0.2, 0.7])
def test_beside_a_step_ringing_falls_to_a_fifth(n, centre):
    frequency = np.fft.rfftfreq(n, 1 / n)  # of a slab over half the image, from its own integral
    slab = n / 2 * np.sinc(frequency / 2) * np.exp(-2j * np.pi * frequency * centre / n)
    image = as_series(500 + 1000 * np.outer(np.fft.irfft(slab, n), np.ones(n)))
    inside = np.abs((np.arange(n) - centre + n / 2) % n - n / 2) < n / 4 - 2
    before, after = (rms(x[inside] - 1500) for x in (image, remove_gibbs_ringing(image)))
    assert after < 0.2 * before


def test_a_transposed_image_gives_the_transposed_result(ringing):
    image = ringing[:-6]
    turned = remove_gibbs_ringing(image.swapaxes(0, 1)).swapaxes(0, 1)
    np.testing.assert_allclose(turned, remove_gibbs_ringing(image), atol=0.5)


def test_a_noisy_image_without_ringing_comes_no_further_from_the_truth(smooth):
    noise = np.random.default_rng(0).normal(scale=20, size=smooth.shape)
    noisy = np.abs(smooth + noise).astype(np.float32)
    assert rms(remove_gibbs_ringing(noisy) - smooth) < rms(noisy - smooth)


def test_a_denoised_scan_comes_nearer_to_the_mean_over_each_voxel():
    only_ringing = replace(Artefacts.none(), gibbs=True)
    still = make_artefact_phantom(
        (24, 24, 20), 3.0, shells={0: 2, 1000: 6}, snr=25.0, artefacts=only_ringing
    )
    denoised, _ = denoise_mppca(still.scan.dwi)
    before, after = (
        rms((dwi - still.noiseless)[still.scan.mask])
        for dwi in (denoised, remove_gibbs_ringing(denoised))
    )
    assert after < 0.9 * before


@pytest.mark.parametrize("axis", [0, 1])
def test_the_slices_may_lie_across_any_axis(ringing, axis):
    turned = np.moveaxis(ringing, 2, axis)
    unrung = remove_gibbs_ringing(turned, slice_axis=axis)
    np.testing.assert_array_equal(np.moveaxis(unrung, axis, 2), remove_gibbs_ringing(ringing))


def test_threads_do_not_change_the_result(ringing):
    one, two = (remove_gibbs_ringing(ringing, n_threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.needs_tool("mrdegibbs")
@pytest.mark.parametrize(("n_x", "tolerance"), [(47, 1e-3), (48, 0.5)])
def test_mrtrix_removes_the_same(ringing, tmp_path, n_x, tolerance):
    noise = np.random.default_rng(0).normal(scale=20, size=ringing.shape)
    image = np.abs(ringing + noise)[:n_x, :47].astype(np.float32)  # it drops the last of an even n
    before, after = tmp_path / "before.nii", tmp_path / "after.nii"
    nib.save(nib.Nifti1Image(image, np.eye(4)), before)
    subprocess.run(["mrdegibbs", before, after, "-quiet", "-nthreads", "1"], check=True)
    theirs = nib.load(after).get_fdata().clip(0)
    assert rms(remove_gibbs_ringing(image) - theirs) < tolerance * rms(theirs - image)


def test_the_slice_axis_is_the_last_one_unless_the_sidecar_says_otherwise():
    assert find_slice_axis({}) == 2
    assert find_slice_axis({"SliceEncodingDirection": "i-"}) == 0


def test_full_sampling_is_no_reason_to_skip():
    for metadata in ({}, {"PartialFourier": 1}, {"PartialFourier": 1.0}):
        assert why_not_unring(metadata, (96, 96, 60)) is None


def test_sampling_most_of_k_space_is_no_reason_to_skip_but_is_known():
    metadata = {"PartialFourier": 0.875}
    assert why_not_unring(metadata, (96, 96, 60)) is None
    assert sampled_share(metadata) == 0.875
    assert sampled_share({"PartialFourier": "6/8"}) == 1.0


def test_partial_fourier_sampling_is_a_reason_to_skip():
    assert "0.75 of k-space" in str(why_not_unring({"PartialFourier": 0.75}, (96, 96, 60)))


def test_slices_of_few_voxels_are_a_reason_to_skip():
    assert "axis k are only 4 voxels wide" in str(why_not_unring({}, (64, 4, 40)))
    assert why_not_unring({"SliceEncodingDirection": "j"}, (64, 4, 40)) is None
