"""MP-PCA removes noise, finds its level, and leaves what is not noise alone."""

import subprocess
import warnings

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from shd_bids.dwi.denoise import denoise_mppca
from shd_bids.dwi.images import load_dwi

SIGMA = 10.0


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    """Give a smooth series of four components, 40 volumes."""
    rng = np.random.default_rng(0)
    weights = [gaussian_filter(rng.normal(size=(16, 15, 14)), 3) for _ in range(4)]
    weights = np.stack([w / w.std() for w in weights], axis=-1)
    return (1000 + 50 * weights @ rng.normal(size=(4, 40))).astype(np.float32)


@pytest.fixture(scope="module")
def noisy(clean) -> np.ndarray:
    noise = np.random.default_rng(1).normal(scale=SIGMA, size=clean.shape)
    return (clean + noise).astype(np.float32)


def rms(difference: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(difference))))


def test_the_noise_level_is_found(noisy):
    _, sigma = denoise_mppca(noisy)
    assert np.median(sigma) == pytest.approx(SIGMA, rel=0.05)


def test_the_error_falls_by_half_at_least(clean, noisy):
    denoised, _ = denoise_mppca(noisy)
    assert rms(denoised - clean) < 0.5 * rms(noisy - clean)


def test_what_is_removed_is_noise(clean, noisy):
    denoised, _ = denoise_mppca(noisy)
    removed = noisy - denoised
    correlation = np.corrcoef(removed.ravel(), clean.ravel())[0, 1]
    assert abs(correlation) < 0.01


def test_a_sparse_grid_of_patches_does_as_well_as_a_dense_one(clean, noisy):
    dense, sparse = (denoise_mppca(noisy, stride=stride)[0] for stride in (1, 2))
    assert rms(sparse - clean) < 1.1 * rms(dense - clean)


def test_dipy_gives_the_same_on_well_sampled_patches(clean, noisy):
    from dipy.denoise.localpca import mppca

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # DIPY's own
        theirs, their_sigma = mppca(noisy, patch_radius=2, return_sigma=True)
    ours, sigma = denoise_mppca(noisy, patch_radius=2, stride=1)
    assert rms(ours - theirs) < 0.2 * rms(noisy - theirs)
    np.testing.assert_allclose(sigma, their_sigma, rtol=0.1)


@pytest.mark.needs_tool("dwidenoise")
def test_mrtrix_finds_the_same_noise_level_on_a_real_scan(shared_data, tmp_path):
    (file,) = (shared_data / "ds000114-trunc-4mm").glob("sub-01/*/dwi/*_dwi.nii.gz")
    dwi = np.asarray(load_dwi(file).dataobj)[:, :, 16:24]
    names = [str(tmp_path / name) for name in ("noise.nii", "slab.nii", "denoised.nii")]
    nib.save(nib.Nifti1Image(dwi, np.eye(4)), names[1])
    command = ["dwidenoise", "-quiet", "-nthreads", "1", "-noise", *names]
    subprocess.run(command, check=True)
    _, sigma = denoise_mppca(dwi)
    bright = dwi[..., 0] > 500
    theirs = np.median(nib.load(names[0]).get_fdata()[bright])
    assert np.median(sigma[bright]) == pytest.approx(theirs, rel=0.05)


def test_threads_do_not_change_the_result(noisy):
    one, two = (denoise_mppca(noisy, n_threads=n_threads)[0] for n_threads in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_an_empty_background_stays_empty(noisy):
    with_air = noisy.copy()
    with_air[:6] = 0
    denoised, sigma = denoise_mppca(with_air)
    assert not denoised[:6].any()
    assert not sigma[:6].any()


def test_voxels_outside_the_mask_come_back_untouched(noisy):
    mask = np.zeros(noisy.shape[:3], dtype=bool)
    mask[4:12, 4:12, 4:10] = True
    denoised, sigma = denoise_mppca(noisy, mask)
    np.testing.assert_array_equal(denoised[~mask], noisy[~mask])
    assert not sigma[~mask].any()
    assert (sigma[mask] > 0).all()


@pytest.mark.parametrize(("n_slice", "n_volume"), [(1, 40), (3, 13), (14, 7)])
def test_slabs_and_short_series_are_denoised_too(clean, noisy, n_slice, n_volume):
    part = (slice(None), slice(None), slice(n_slice), slice(n_volume))
    denoised, sigma = denoise_mppca(noisy[part])
    assert rms(denoised - clean[part]) < rms(noisy[part] - clean[part])
    assert (sigma > 0).all()


def test_a_series_without_noise_comes_back_unchanged(clean):
    denoised, _ = denoise_mppca(clean)
    np.testing.assert_allclose(denoised, clean, rtol=1e-3)
