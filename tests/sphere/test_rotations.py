"""Rotations of the grid and of spherical functions."""

import numpy as np
import pytest

from shd_bids.sphere.harmonics import sh_basis
from shd_bids.sphere.healpix import sphere_vertices
from shd_bids.sphere.rotations import grid_symmetries, random_rotation, sh_rotation


def test_the_grid_has_48_distinct_symmetries_and_24_are_rotations() -> None:
    matrices = grid_symmetries()
    assert len(np.unique(matrices.reshape(-1, 9), axis=0)) == len(matrices) == 48
    np.testing.assert_array_equal(matrices @ matrices.transpose(0, 2, 1), [np.eye(3)] * 48)
    assert np.sum(np.linalg.det(matrices) > 0) == 24


def test_symmetries_of_the_grid_form_a_group() -> None:
    matrices = grid_symmetries()
    known = {matrix.tobytes() for matrix in matrices + 0.0}
    products = np.einsum("aij,bjk->abik", matrices, matrices).reshape(-1, 3, 3) + 0.0
    assert {product.tobytes() for product in products} == known


def test_a_random_rotation_is_one_and_follows_the_seed() -> None:
    first, again = (random_rotation(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_allclose(first @ first.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(first) == pytest.approx(1.0)
    assert np.array_equal(first, again)


@pytest.mark.parametrize("lmax", [0, 2, 8, 12])
def test_rotating_coefficients_rotates_the_amplitudes(lmax: int) -> None:
    generator = np.random.default_rng(lmax)
    rotation = random_rotation(generator)
    directions = sphere_vertices(4)
    basis = sh_basis(directions, lmax)
    coefficients = generator.standard_normal(basis.shape[1])
    turned = sh_rotation(rotation, lmax) @ coefficients
    # The rotated function has at R u the value that the function has at u.
    moved = sh_basis(directions @ rotation.T, lmax)
    np.testing.assert_allclose(moved @ turned, basis @ coefficients, atol=1e-9)


def test_rotations_compose_and_keep_energy() -> None:
    generator = np.random.default_rng(1)
    first, second = random_rotation(generator), random_rotation(generator)
    matrix = sh_rotation(first, 8)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(45), atol=1e-9)
    composed = sh_rotation(second, 8) @ matrix
    np.testing.assert_allclose(composed, sh_rotation(second @ first, 8), atol=1e-9)


def test_a_point_reflection_leaves_even_functions_alone() -> None:
    np.testing.assert_allclose(sh_rotation(-np.eye(3), 8), np.eye(45), atol=1e-9)
