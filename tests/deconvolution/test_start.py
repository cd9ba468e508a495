"""The start: non-negative, like its neighbours, and still what the data say."""

import numpy as np
import pytest
import torch
from deconvolution.scans import signal_model, tiny_signal
from scipy.optimize import nnls

from shd_bids.deconvolution.forward import vertex_dictionary
from shd_bids.deconvolution.start import _RIDGE, _SPARSITY, neighbour_weights, non_negative_start
from shd_bids.sphere.healpix import hemisphere

VERTICES = hemisphere(2).vertices
N_VERTEX = len(VERTICES)
WEIGHTS = neighbour_weights(torch.as_tensor(VERTICES), torch.eye(3, dtype=torch.float64))


@pytest.fixture(scope="module")
def problem() -> tuple[np.ndarray, np.ndarray]:
    model = signal_model()
    dwi = tiny_signal(model, (2, 2, 3), noise=0.05) / model.scale
    return dwi.reshape(-1, dwi.shape[-1]), vertex_dictionary(model, VERTICES)


def _solve(
    dwi: np.ndarray, dictionary: np.ndarray, neighbours: np.ndarray | None = None
) -> np.ndarray:
    """Solve voxels that have no neighbours, unless these are given, in rows from 1."""
    with_outside = np.vstack([np.zeros_like(dwi[:1]), dwi])
    neighbours = np.zeros((len(dwi) + 1, 6), dtype=int) if neighbours is None else neighbours
    tensors = (torch.as_tensor(values).float() for values in (with_outside, dictionary, WEIGHTS))
    return non_negative_start(*tensors, torch.as_tensor(neighbours)).numpy()[1:]


def _row_of(n_voxel: int) -> np.ndarray:
    """Give the neighbours of voxels in one row along the first axis."""
    neighbours = np.zeros((n_voxel + 1, 6), dtype=int)
    neighbours[2:, 0] = np.arange(1, n_voxel)
    neighbours[1:-1, 1] = np.arange(2, n_voxel + 1)
    return neighbours


def test_the_weights_of_all_neighbours_of_a_vertex_sum_to_one() -> None:
    torch.testing.assert_close(2 * WEIGHTS.sum(dim=0), torch.ones_like(WEIGHTS[0]))


def test_a_neighbour_along_a_fibre_weighs_more_than_one_across_or_far_away() -> None:
    fibre = torch.tensor([[1.0, 0.0, 0.0]])
    along, across, _ = neighbour_weights(fibre, torch.eye(3))[:, 0]
    far, _, _ = neighbour_weights(fibre, torch.diag(torch.tensor([3.0, 1.0, 1.0])))[:, 0]
    assert along > across > 0
    assert far < along


def test_weights_turn_with_the_image() -> None:
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    axes, vertices = torch.diag(torch.tensor([2.0, 2.0, 3.0])), torch.as_tensor(VERTICES).float()
    turned = neighbour_weights(vertices @ turn.T, turn @ axes)
    torch.testing.assert_close(turned, neighbour_weights(vertices, axes))


def test_neighbours_make_noisy_voxels_alike_and_leave_equal_ones_as_they_are(
    problem: tuple[np.ndarray, np.ndarray],
) -> None:
    dwi, dictionary = problem
    noisy = dwi[0] + 0.05 * np.random.default_rng(1).standard_normal((8, dwi.shape[1]))
    alone, together = _solve(noisy, dictionary), _solve(noisy, dictionary, _row_of(8))
    assert np.diff(together, axis=0).std() < 0.9 * np.diff(alone, axis=0).std()
    equal = np.tile(dwi[0], (8, 1))
    alone, together = _solve(equal, dictionary), _solve(equal, dictionary, _row_of(8))
    np.testing.assert_allclose(together, alone, atol=0.02 * alone.max())


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


def test_the_objective_is_at_its_minimum(problem: tuple[np.ndarray, np.ndarray]) -> None:
    dwi, dictionary = problem
    columns = np.c_[dictionary, dictionary[:, :N_VERTEX].sum(axis=1)]
    norms = np.linalg.norm(columns, axis=0)
    scaled = columns / norms
    ridge = np.sqrt(_RIDGE * np.linalg.eigvalsh(scaled.T @ scaled)[-1])
    # The sum is a shift of the ridge: r/2 (x + p/r)^2 = r/2 x^2 + p x + what does not depend on x.
    shift = -_SPARSITY * np.sqrt(len(dictionary)) / ridge
    stacked = np.vstack([scaled, ridge * np.eye(N_VERTEX, len(norms))])
    for signal, solution in zip(dwi, _solve(dwi, dictionary), strict=True):
        best = nnls(stacked, np.r_[signal, np.full(N_VERTEX, shift)])[0] / norms
        best[:N_VERTEX] += best[-1]
        np.testing.assert_allclose(solution, best[:-1], atol=0.01 * best.max())


def test_isotropic_signal_beside_a_fibre_is_spread_evenly_over_the_sphere() -> None:
    model = signal_model(lmax=8)
    vertices = hemisphere(4).vertices
    weights = neighbour_weights(torch.as_tensor(vertices), torch.eye(3, dtype=torch.float64))
    dictionary = vertex_dictionary(model, vertices)
    n_vertex = len(vertices)
    signal = 0.5 * dictionary[:, 3] + 0.5 * dictionary[:, :n_vertex].mean(axis=1)
    with_outside = np.vstack([np.zeros_like(signal), signal])
    tensors = (torch.as_tensor(values).float() for values in (with_outside, dictionary, weights))
    alone = torch.zeros(2, 6, dtype=torch.int64)
    amplitude = non_negative_start(*tensors, alone).numpy()[1, :n_vertex]
    elsewhere = amplitude[np.abs(vertices @ vertices[3]) < np.cos(np.radians(45))]
    assert elsewhere.max() < 0.1 * amplitude.max()
    assert elsewhere.min() > 0.5 * elsewhere.max()
