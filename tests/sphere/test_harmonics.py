"""The SH basis: MRtrix3's, orthonormal, and determined by enough directions."""

import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shd_bids.sphere.harmonics import (
    count_coefficients,
    degree_of_count,
    degrees_of_coefficients,
    fit_matrix,
    largest_degree,
    sh_basis,
)
from shd_bids.sphere.healpix import sphere_vertices


def _random_directions(n_direction: int, seed: int = 0) -> np.ndarray:
    directions = np.random.default_rng(seed).standard_normal((n_direction, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


@pytest.mark.parametrize("lmax", [0, 2, 4, 8, 12, 18])
def test_counting_coefficients_and_degrees_are_inverse(lmax: int) -> None:
    assert degree_of_count(count_coefficients(lmax)) == lmax
    assert len(degrees_of_coefficients(lmax)) == count_coefficients(lmax)


@pytest.mark.parametrize("n_coef", [0, 2, 3, 10, 44])
def test_a_count_that_is_of_no_even_expansion_is_refused(n_coef: int) -> None:
    with pytest.raises(ValueError, match="even SH expansion"):
        degree_of_count(n_coef)


@pytest.mark.parametrize("n_direction", [1, 6, 15, 30, 64, 200])
def test_the_largest_degree_has_no_more_coefficients_than_directions(n_direction: int) -> None:
    degree = largest_degree(n_direction, 20)
    assert count_coefficients(degree) <= n_direction < count_coefficients(degree + 2)
    assert largest_degree(n_direction, 2) <= 2


def test_the_basis_is_orthonormal() -> None:
    # Gauss-Legendre in z and the trapezoid rule in longitude integrate degree 16 exactly.
    z, weight = np.polynomial.legendre.leggauss(12)
    longitude = 2 * np.pi * np.arange(24) / 24
    z, longitude = (grid.ravel() for grid in np.meshgrid(z, longitude, indexing="ij"))
    radius = np.sqrt(1 - z**2)
    points = np.stack([radius * np.cos(longitude), radius * np.sin(longitude), z], axis=1)
    basis = sh_basis(points, 8)
    area = np.repeat(weight, 24) * 2 * np.pi / 24
    np.testing.assert_allclose(basis.T @ (area[:, None] * basis), np.eye(45), atol=1e-12)


def test_the_basis_is_even() -> None:
    directions = _random_directions(20)
    np.testing.assert_allclose(sh_basis(directions, 8), sh_basis(-directions, 8), atol=1e-12)


def test_a_zero_vector_has_the_isotropic_column() -> None:
    assert sh_basis(np.zeros((1, 3)), 4)[0, 0] == pytest.approx(1 / np.sqrt(4 * np.pi))


def test_degrees_tell_how_a_zonal_function_turns_about_its_axis() -> None:
    turned = sh_basis(np.array([[0.0, 0.0, 1.0]]), 8)[0]
    degrees = degrees_of_coefficients(8)
    expected = np.zeros(45)
    for degree in range(0, 9, 2):
        first = count_coefficients(degree - 2) if degree else 0
        expected[first + degree] = np.sqrt((2 * degree + 1) / (4 * np.pi))
        assert set(degrees[first : first + 2 * degree + 1]) == {degree}
    np.testing.assert_allclose(turned, expected, atol=1e-12)


def test_synthesis_then_analysis_is_the_identity() -> None:
    directions = _random_directions(60)
    identity = fit_matrix(directions, 6) @ sh_basis(directions, 6)
    np.testing.assert_allclose(identity, np.eye(28), atol=1e-10)


def test_a_ridge_shrinks_high_degrees_and_keeps_the_mean() -> None:
    directions = sphere_vertices(2)
    kept = np.diag(fit_matrix(directions, 6, ridge=0.006) @ sh_basis(directions, 6))
    means = [kept[degrees_of_coefficients(6) == degree].mean() for degree in (0, 2, 4, 6)]
    assert means[0] == pytest.approx(1.0, abs=1e-3)
    assert np.all(np.diff(means) < 0)


@pytest.mark.needs_tool("sh2amp")
def test_amplitudes_equal_those_of_mrtrix3(tmp_path: Path) -> None:
    coefficients = np.random.default_rng(3).standard_normal((2, 1, 1, 45)).astype(np.float32)
    directions = _random_directions(25, seed=4)
    image_file, directions_file = tmp_path / "sh.nii", tmp_path / "directions.txt"
    nib.save(nib.Nifti1Image(coefficients, np.diag([-2.0, 2.0, 2.0, 1.0])), image_file)
    np.savetxt(directions_file, directions)
    amplitude_file = tmp_path / "amplitudes.nii"
    subprocess.run(
        ["sh2amp", "-quiet", image_file, directions_file, amplitude_file], check=True, timeout=60
    )
    expected = np.asarray(nib.load(amplitude_file).dataobj)
    actual = coefficients @ sh_basis(directions, 8).T
    np.testing.assert_allclose(actual, expected, atol=1e-4)
