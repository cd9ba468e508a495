"""A smooth bias is removed, and what is not biased stays as it is."""

import numpy as np
import pytest
import SimpleITK as sitk

from shd_bids.dwi.bias import correct_bias, estimate_bias_field
from shd_bids.dwi.shells import cluster_shells
from shd_bids.testing.phantom import Phantom, make_affine, make_phantom

SHAPE, VOXEL_MM = (18, 18, 14), (4.0, 4.0, 4.0)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    shells = {0: 3, 1000: 6}
    return make_phantom(SHAPE, 3.0, shells=shells, snr=30.0, affine=make_affine(SHAPE, 4.0, "RAS"))


def smooth_field(mask: np.ndarray, coefficients: tuple[float, ...], amplitude: float) -> np.ndarray:
    """Give a polynomial of degree 2 that spans 1 -/+ the amplitude in the mask."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in mask.shape), indexing="ij")
    terms = (x, y, z, x * x, y * y, z * z, x * y)
    field = sum(c * term for c, term in zip(coefficients, terms, strict=True))
    low, high = field[mask].min(), field[mask].max()
    return 1 + amplitude * (2 * (field - low) / (high - low) - 1)


def variation(values: np.ndarray) -> float:
    return float(values.std() / values.mean())


@pytest.mark.parametrize(
    "coefficients",
    [(1, 0.5, -0.3, 0, 0, 0, 0), (0, 0.3, 0, 1, 1, 0.7, 0), (0.7, 0.5, -0.4, 0.5, 0.5, 0.3, -0.4)],
)
def test_a_field_of_30_percent_is_removed_to_under_5(phantom, coefficients):
    truth = smooth_field(phantom.mask, coefficients, 0.3)
    shells = cluster_shells(phantom.bvals)
    biased = (phantom.dwi * truth[..., None]).astype(np.float32)
    corrected, field = correct_bias(biased, shells, phantom.mask, VOXEL_MM)
    left = (truth / field)[phantom.mask]
    assert variation(truth[phantom.mask]) > 0.1
    assert variation(left) < 0.05
    np.testing.assert_allclose(corrected * field[..., None], biased, rtol=1e-5)


def test_an_unbiased_series_stays_nearly_as_it_is(phantom):
    _, field = correct_bias(phantom.dwi, cluster_shells(phantom.bvals), phantom.mask, VOXEL_MM)
    assert variation(field[phantom.mask]) < 0.04


def test_the_field_is_1_in_the_mean_and_above_0_everywhere(phantom):
    truth = smooth_field(phantom.mask, (1, 0, 0, 0, 0, 0, 0), 0.4)
    image = (phantom.dwi[..., 0] * truth).astype(np.float32)
    field = estimate_bias_field(image, phantom.mask, VOXEL_MM)
    assert field[phantom.mask].mean() == pytest.approx(1, abs=1e-4)
    assert field.min() > 0.3
    assert field.max() < 3


def test_thick_slices_are_known_to_be_thick(phantom):
    truth = smooth_field(phantom.mask, (0, 0, 1, 0, 0, 0, 0.5), 0.3)
    biased = (phantom.dwi * truth[..., None]).astype(np.float32)[:, :, ::2]
    mask, shells = phantom.mask[:, :, ::2], cluster_shells(phantom.bvals)
    _, field = correct_bias(biased, shells, mask, (4.0, 4.0, 8.0))
    assert variation((truth[:, :, ::2] / field)[mask]) < 0.05


def test_the_number_of_threads_of_others_is_given_back(phantom):
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    one, two = (
        estimate_bias_field(phantom.dwi[..., 0], phantom.mask, VOXEL_MM, n_threads=n)
        for n in (1, 2)
    )
    assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == before
    np.testing.assert_allclose(one, two, rtol=1e-3)
