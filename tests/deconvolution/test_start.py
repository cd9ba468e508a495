"""The start: the non-negative solution of each voxel alone."""

import numpy as np
import pytest
import torch
from deconvolution.scans import signal_model, tiny_signal
from scipy.optimize import nnls

from shd_bids.deconvolution.start import _RIDGE, non_negative_start, vertex_dictionary
from shd_bids.sphere.harmonics import sh_basis
from shd_bids.sphere.healpix import hemisphere

N_VERTEX = 24


@pytest.fixture(scope="module")
def problem() -> tuple[np.ndarray, np.ndarray]:
    model = signal_model()
    dictionary = vertex_dictionary(model, hemisphere(2).vertices)
    dwi = tiny_signal(model, (2, 2, 3), noise=0.05) / model.scale
    return dwi.reshape(-1, dwi.shape[-1]), dictionary


def _solve(dwi: np.ndarray, dictionary: np.ndarray) -> np.ndarray:
    tensors = (torch.as_tensor(values).float() for values in (dwi, dictionary))
    return non_negative_start(*tensors, N_VERTEX).numpy()


def test_the_dictionary_gives_the_signal_of_amplitudes() -> None:
    model = signal_model()
    vertices = hemisphere(2).vertices
    coefficients = np.random.default_rng(0).standard_normal(model.n_coef + 1)
    amplitudes = sh_basis(vertices, model.lmax) @ coefficients[: model.n_coef]
    unknowns = np.r_[amplitudes, coefficients[model.n_coef :]]
    actual = vertex_dictionary(model, vertices) @ unknowns
    np.testing.assert_allclose(actual, model.kernel @ coefficients, atol=1e-9)


def test_nothing_is_negative(problem: tuple[np.ndarray, np.ndarray]) -> None:
    assert _solve(*problem).min() >= 0.0


def test_no_signal_gives_nothing(problem: tuple[np.ndarray, np.ndarray]) -> None:
    dwi, dictionary = problem
    assert not _solve(np.zeros_like(dwi), dictionary).any()


def test_voxels_do_not_know_of_each_other(problem: tuple[np.ndarray, np.ndarray]) -> None:
    dwi, dictionary = problem
    together, alone = _solve(dwi, dictionary), _solve(dwi[:1], dictionary)
    np.testing.assert_allclose(together[:1], alone, atol=1e-4)


def test_the_residual_is_nearly_the_smallest_possible(
    problem: tuple[np.ndarray, np.ndarray],
) -> None:
    dwi, dictionary = problem
    for signal, solution in zip(dwi, _solve(dwi, dictionary), strict=True):
        smallest = nnls(dictionary, signal)[1]
        residual = np.linalg.norm(dictionary @ solution - signal)
        assert smallest - 1e-5 < residual < smallest + 0.01 * np.linalg.norm(signal)


def test_the_objective_with_its_ridge_is_at_its_minimum(
    problem: tuple[np.ndarray, np.ndarray],
) -> None:
    dwi, dictionary = problem
    norms = np.linalg.norm(dictionary, axis=0)
    scaled = dictionary / norms
    largest = np.linalg.eigvalsh(scaled.T @ scaled)[-1]
    ridge = np.sqrt(_RIDGE * largest) * np.eye(N_VERTEX, scaled.shape[1])
    stacked = np.vstack([scaled, ridge])
    for signal, solution in zip(dwi, _solve(dwi, dictionary), strict=True):
        target = np.r_[signal, np.zeros(N_VERTEX)]
        smallest = nnls(stacked, target)[1]
        assert np.linalg.norm(stacked @ (solution * norms) - target) < 1.001 * smallest + 1e-5
