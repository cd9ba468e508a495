"""Volumes predicted from the others."""

import numpy as np
import pytest

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.prediction import gaussian_process_predictor
from shd_bids.dwi.shells import cluster_shells
from shd_bids.testing.kernels import fibre_signal
from shd_bids.testing.scheme import make_scheme


def fibres(shells, n_voxel=400, noise=0.0):
    """Scan voxels with one fibre each."""
    random = np.random.default_rng(0)
    gradients = GradientTable(*make_scheme(shells, seed=1))
    axes = random.normal(size=(n_voxel, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    cosines = axes @ gradients.bvecs_ras.T
    signal = 1000 * fibre_signal(gradients.bvals[None], cosines, 0.6)
    signal += noise * random.normal(size=signal.shape)
    return gradients, cluster_shells(gradients.bvals), signal.T.astype(np.float32)


@pytest.fixture(scope="module")
def scan():
    return fibres({0: 3, 1000: 20, 2500: 30}, noise=20.0)


def test_a_prediction_does_not_see_its_volume(scan):
    gradients, shells, signal = scan
    predictor = gaussian_process_predictor(gradients, shells, signal)
    other = signal.copy()
    other[7] = 0
    assert np.array_equal(predictor.predict(signal, 7), predictor.predict(other, 7))


def test_fibres_are_predicted_to_little_more_than_the_noise(scan):
    gradients, shells, signal = scan
    predictor = gaussian_process_predictor(gradients, shells, signal)
    for shell, largest in ((0, 30.0), (1, 35.0), (2, 50.0)):
        errors = [predictor.predict(signal, v) - signal[v] for v in shells.volumes(shell).tolist()]
        assert np.sqrt(np.mean(np.square(errors))) < largest


def test_another_shell_helps_to_predict():
    gradients, shells, signal = fibres({0: 3, 1000: 8, 2500: 40}, noise=20.0)
    both = gaussian_process_predictor(gradients, shells, signal)
    low = np.flatnonzero(shells.index < 2)
    table = GradientTable(gradients.bvals[low], gradients.bvecs_ras[low])
    alone = gaussian_process_predictor(table, cluster_shells(table.bvals), signal[low])

    def error(predictor, data, index):
        residual = [
            predictor.predict(data, v) - data[v] for v in np.flatnonzero(index == 1).tolist()
        ]
        return np.sqrt(np.mean(np.square(residual)))

    assert error(both, signal, shells.index) < error(alone, signal[low], shells.index[low])


def test_a_b0_volume_is_predicted_by_the_mean_of_the_others(scan):
    gradients, shells, signal = scan
    predictor = gaussian_process_predictor(gradients, shells, signal)
    first, *others = shells.volumes(0).tolist()
    assert np.allclose(predictor.predict(signal, first), signal[others].mean(axis=0), rtol=1e-4)


def test_an_only_b0_volume_is_left_as_it_is():
    gradients, shells, signal = fibres({0: 1, 1000: 20})
    predictor = gaussian_process_predictor(gradients, shells, signal)
    assert np.array_equal(predictor.predict(signal, 0), signal[0])


def test_a_prediction_follows_the_mean_of_its_shell(scan):
    gradients, shells, signal = scan
    predictor = gaussian_process_predictor(gradients, shells, signal)
    volume = int(shells.volumes(1)[3])
    brighter = signal + 500 * (shells.index == 1).astype(np.float32)[:, None]
    change = predictor.predict(brighter, volume) - predictor.predict(signal, volume)
    assert np.allclose(change, 500, atol=2)
