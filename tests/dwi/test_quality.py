"""Measures of a scan follow its noise, its motion and its distortion."""

import numpy as np
import pytest

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.quality import (
    MeasuredSeries,
    acquisition_measures,
    describe_measure,
    motion_measures,
    noise_measures,
    preproc_measures,
)
from shd_bids.dwi.shells import cluster_shells
from shd_bids.dwi.transforms import VolumeTransforms


@pytest.fixture
def scan(directions):
    """Scan crossing-free tensors; noise in the units of the signal."""
    bvals = np.array([0.0] * 2 + [1000.0] * 12)
    table = GradientTable(bvals, np.vstack([np.zeros((2, 3)), directions]))
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(6, 6, 6, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    diffusivity = 0.3e-3 + 1.4e-3 * (axes @ table.bvecs_ras.T) ** 2
    truth = 1000 * np.exp(-bvals * diffusivity)

    def run(sigma: float) -> MeasuredSeries:
        noisy = np.maximum(truth + rng.normal(scale=sigma, size=truth.shape), 0)
        mask = np.ones((6, 6, 6), dtype=bool)
        return MeasuredSeries(
            noisy.astype(np.float32), table, cluster_shells(bvals), mask, (2.0, 2.0, 2.5)
        )

    return run


def noise_map(sigma):
    return np.full((6, 6, 6), sigma, dtype=np.float32)


def test_more_noise_means_less_neighbour_correlation(scan):
    found = [acquisition_measures(scan(s))["raw_neighbor_corr"] for s in (1.0, 50.0, 300.0)]
    assert found == sorted(found, reverse=True)


def test_snr_is_signal_over_noise(scan):
    measures = noise_measures(scan(20.0), noise_map(20.0))
    assert measures["snr_b0"] == pytest.approx(50, rel=0.05)
    assert measures["noise_sigma"] == pytest.approx(20)


def test_noise_that_is_known_nowhere_gives_no_measure(scan):
    assert noise_measures(scan(20.0), noise_map(0.0)) == {}


def test_cnr_halves_when_noise_doubles(scan):
    clean = scan(0.0)
    one, two = (preproc_measures(clean, sigma)["cnr_b1000"] for sigma in (20.0, 40.0))
    assert one == pytest.approx(2 * two)


def test_a_tensor_fits_tensors_and_not_noise(scan):
    assert preproc_measures(scan(0.0))["tensor_residual"] < 1e-3
    # 14 volumes less 7 parameters leave half of the variance
    noisy = preproc_measures(scan(20.0))["tensor_residual"]
    assert noisy == pytest.approx(0.02 * np.sqrt(0.5), rel=0.3)


def test_volumes_and_sizes_are_counted(scan):
    measures = acquisition_measures(scan(10.0))
    assert (measures["num_volumes_b0"], measures["num_volumes_b1000"]) == (2, 12)
    assert (measures["raw_dimension_z"], measures["raw_voxel_size_z"]) == (6, 2.5)
    assert preproc_measures(scan(10.0))["mask_volume_ml"] == pytest.approx(216 * 10 / 1000)


def test_motion_is_measured_from_the_first_volume():
    moved, turned = np.zeros((3, 3)), np.zeros((3, 3))
    moved[1:, 0] = 3.0
    turned[2, 2] = np.deg2rad(2)
    transforms = VolumeTransforms(moved, turned, np.zeros((3, 4)))
    dropout = np.zeros((3, 8), dtype=bool)
    dropout[1, 4] = True
    judged = np.ones((3, 8), dtype=bool)
    judged[:, :3] = False
    measures = motion_measures(transforms, dropout, judged)
    assert measures["max_translation"] == pytest.approx(3)
    assert measures["max_rotation"] == pytest.approx(2)
    assert measures["max_fd"] == pytest.approx(3)
    assert measures["mean_fd"] == pytest.approx((3 + 50 * np.deg2rad(2)) / 2)
    assert measures["raw_num_bad_slices"] == 1
    assert measures["bad_slices_percent"] == pytest.approx(100 / 15)


def test_every_measure_is_described_once(scan):
    series = scan(10.0)
    names = [
        *acquisition_measures(series),
        *noise_measures(series, noise_map(10.0)),
        *preproc_measures(series, 10.0),
        *motion_measures(VolumeTransforms.identity(3), *np.zeros((2, 3, 2), dtype=bool)),
        "max_displacement_mm",
        "rms_displacement_mm",
        "difference_before",
        "difference_after",
        "gradient_check",
        "gradient_coherence",
        "gradient_coherence_other",
        "gradient_lead",
        "t1_dice_distance",
    ]
    assert len({describe_measure(name) for name in names}) == len(names)
