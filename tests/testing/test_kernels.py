"""Signals and responses of the phantom."""

import numpy as np
from numpy.polynomial import legendre

from shd_bids.testing.kernels import (
    MEAN_INTRA_FRACTION,
    S0,
    add_rician_noise,
    fibre_signal,
    true_responses,
)

BVALS = np.array([0.0, 1000.0, 2500.0])


def test_the_white_matter_response_gives_the_fibre_signal_back():
    cosine = np.linspace(0.0, 1.0, 11)
    zonal = true_responses(BVALS, lmax=16)["WM"]
    degrees = np.arange(0, 17, 2)
    basis = np.stack(
        [
            np.sqrt((2 * d + 1) / (4 * np.pi)) * legendre.legval(cosine, np.eye(17)[d])
            for d in degrees
        ]
    )
    expected = S0["WM"] * fibre_signal(BVALS[:, None], cosine[None], MEAN_INTRA_FRACTION)
    np.testing.assert_allclose(zonal @ basis, expected, atol=1e-3 * S0["WM"])


def test_an_isotropic_response_is_the_signal_times_the_root_of_four_pi():
    responses = true_responses(BVALS)
    for tissue in ("GM", "CSF"):
        np.testing.assert_allclose(responses[tissue][0, 0], S0[tissue] * np.sqrt(4 * np.pi))
        assert responses[tissue].shape == (3, 1)


def test_a_fibre_attenuates_most_along_itself():
    along, across = fibre_signal(np.array([1000.0, 1000.0]), np.array([1.0, 0.0]), 0.6)
    assert along < 0.2 < 0.8 < across


def test_noise_is_rayleigh_in_air_and_gaussian_in_bright_voxels():
    generator = np.random.default_rng(0)
    air = add_rician_noise(np.zeros(100_000), 20.0, generator)
    np.testing.assert_allclose(air.mean(), 20.0 * np.sqrt(np.pi / 2), rtol=0.01)
    bright = add_rician_noise(np.full(100_000, 1000.0), 20.0, generator)
    np.testing.assert_allclose([bright.mean(), bright.std()], [1000.2, 20.0], rtol=0.01)
