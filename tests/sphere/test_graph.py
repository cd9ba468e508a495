"""Laplacians of the sphere and its half, and filters made of them."""

import numpy as np
import pytest
from numpy.polynomial import chebyshev
from sphere.reference import load_reference

from shd_bids.sphere.graph import chebyshev_polynomials, hemisphere_laplacian, sphere_laplacian
from shd_bids.sphere.healpix import hemisphere

LEVELS = [8, 4, 2, 1]


@pytest.mark.parametrize("n_side", LEVELS)
def test_eigenvalues_lie_between_minus_one_and_one(n_side: int) -> None:
    full = np.linalg.eigvalsh(sphere_laplacian(n_side))
    np.testing.assert_allclose(full[[0, -1]], [-1.0, 1.0], atol=1e-12)
    half = np.linalg.eigvals(hemisphere_laplacian(n_side))
    assert np.abs(half.imag).max() < 1e-12
    assert np.abs(half.real).max() < 1.0 + 1e-12


@pytest.mark.parametrize("n_side", LEVELS)
def test_the_graph_is_symmetric_and_antipodally_symmetric(n_side: int) -> None:
    laplacian = sphere_laplacian(n_side)
    opposite = hemisphere(n_side).antipodes
    np.testing.assert_allclose(laplacian, laplacian.T, atol=1e-12)
    np.testing.assert_allclose(laplacian[opposite][:, opposite], laplacian, atol=1e-12)


@pytest.mark.parametrize("n_side", LEVELS)
def test_the_hemispherical_filter_is_the_full_one_restricted(n_side: int) -> None:
    half = hemisphere(n_side)
    generator = np.random.default_rng(n_side)
    signal = generator.standard_normal(len(half.vertices))
    on_sphere = signal[half.fold]
    full = chebyshev_polynomials(sphere_laplacian(n_side), 5)
    folded = chebyshev_polynomials(hemisphere_laplacian(n_side), 5)
    np.testing.assert_allclose(folded @ signal, (full @ on_sphere)[:, half.pixels], atol=1e-12)


@pytest.mark.parametrize("n_order", [1, 2, 5])
def test_chebyshev_polynomials_act_on_eigenvalues(n_order: int) -> None:
    laplacian = sphere_laplacian(2)
    values, vectors = np.linalg.eigh(laplacian)
    terms = chebyshev_polynomials(laplacian, n_order)
    assert len(terms) == n_order
    for order, term in enumerate(terms):
        coefficients = np.eye(n_order)[order]
        expected = (vectors * chebyshev.chebval(values, coefficients)) @ vectors.T
        np.testing.assert_allclose(term, expected, atol=1e-12)


@pytest.mark.parametrize("n_side", [8, 4])
def test_a_laplacian_that_is_handed_out_can_be_changed(n_side: int) -> None:
    sphere_laplacian(n_side)[:] = 0.0
    assert np.abs(sphere_laplacian(n_side)).max() > 0.1


@pytest.mark.parametrize("n_side", LEVELS)
def test_the_laplacian_is_that_of_the_authors(n_side: int) -> None:
    # Theirs is divided by 1.01 times an estimate of the largest eigenvalue, ours by its value.
    expected = load_reference("graph")[f"laplacian_nside{n_side}"]
    actual = hemisphere_laplacian(n_side)
    assert np.linalg.norm(actual - expected, 2) < 0.02 * np.linalg.norm(actual, 2)


@pytest.mark.parametrize("n_side", LEVELS)
def test_but_for_the_eigenvalue_the_laplacian_is_exactly_that_of_the_authors(n_side: int) -> None:
    identity = np.eye(6 * n_side**2)
    expected = load_reference("graph")[f"laplacian_nside{n_side}"] + identity
    actual = hemisphere_laplacian(n_side) + identity
    factor = np.trace(expected) / np.trace(actual)
    assert 0.975 < factor < 1.0
    np.testing.assert_allclose(factor * actual, expected, atol=2e-6)
