"""Measures of a scan follow its noise."""

import numpy as np
import pytest

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.quality import describe_measure, quality_measures
from shd_bids.dwi.shells import cluster_shells


@pytest.fixture
def measure(directions):
    """Measure a noisy series of crossing-free tensors; noise in the units of the signal."""
    bvals = np.array([0.0] * 2 + [1000.0] * 12)
    table = GradientTable(bvals, np.vstack([np.zeros((2, 3)), directions]))
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(6, 6, 6, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    diffusivity = 0.3e-3 + 1.4e-3 * (axes @ table.bvecs_ras.T) ** 2
    truth = (1000 * np.exp(-bvals * diffusivity)).astype(np.float32)
    mask = np.ones((6, 6, 6), dtype=bool)

    def run(sigma: float) -> dict:
        noise = rng.normal(scale=sigma, size=truth.shape)
        return quality_measures(
            np.maximum(truth + noise, 0).astype(np.float32),
            table,
            cluster_shells(bvals),
            mask,
            voxel_size_mm=(2.0, 2.0, 2.5),
            denoised=truth,
            sigma=np.full(mask.shape, sigma, dtype=np.float32),
        )

    return run


def test_more_noise_means_less_neighbour_correlation(measure):
    correlations = [measure(sigma)["raw_neighbor_corr"] for sigma in (1.0, 50.0, 300.0)]
    assert correlations == sorted(correlations, reverse=True)


def test_snr_is_signal_over_noise(measure):
    assert measure(20.0)["snr_b0"] == pytest.approx(50, rel=0.05)


def test_cnr_halves_when_noise_doubles(measure):
    assert measure(20.0)["cnr_b1000"] == pytest.approx(2 * measure(40.0)["cnr_b1000"], rel=0.01)


def test_volumes_and_sizes_are_counted(measure):
    measures = measure(10.0)
    assert (measures["num_volumes_b0"], measures["num_volumes_b1000"]) == (2, 12)
    assert measures["mask_volume_ml"] == pytest.approx(216 * 10 / 1000)
    assert (measures["raw_dimension_z"], measures["raw_voxel_size_z"]) == (6, 2.5)


def test_every_measure_is_described_once(measure):
    names = list(measure(10.0))
    assert len({describe_measure(name) for name in names}) == len(names)
