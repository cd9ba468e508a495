"""The physics: a fibre gives the response turned towards it."""

import numpy as np
import pytest
from deconvolution.scans import gradient_table, responses, signal_model

from shd_bids.deconvolution.forward import (
    SignalModel,
    build_signal_model,
    fibre_lobe,
    shell_interpolation,
    vertex_dictionary,
)
from shd_bids.deconvolution.solution import UNIT_COEFFICIENT
from shd_bids.dwi.shells import cluster_shells
from shd_bids.errors import ResponseError
from shd_bids.sphere.harmonics import sh_basis
from shd_bids.sphere.healpix import hemisphere
from shd_bids.testing.kernels import DIFFUSIVITY, MEAN_INTRA_FRACTION, S0, fibre_signal

BVALS = (1000.0, 2500.0)
DIRECTIONS = ([0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.6, -0.64, 0.48])


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_single_fibre_gives_the_response_turned_to_it(direction: list[float]) -> None:
    model = signal_model(("WM",), BVALS, lmax=10)
    fibre = np.array(direction)
    lobe = sh_basis(fibre[None], 10)[0] * fibre_lobe(10)
    signal = model.kernel @ lobe
    table = gradient_table(BVALS)
    expected = fibre_signal(table.bvals, table.bvecs_ras @ fibre, MEAN_INTRA_FRACTION)
    np.testing.assert_allclose(signal, expected, atol=2e-3)  # degrees above 10 are cut off


def _all(model: SignalModel) -> np.ndarray:
    return np.ones(len(model.kernel), dtype=bool)


def test_degrees_that_the_response_lacks_give_no_signal() -> None:
    model = signal_model(("WM",), lmax=12)  # the response ends at degree 10
    assert np.abs(model.kernel[:, :66]).max() > 0.01
    assert not model.kernel[:, 66:].any()


def test_white_matter_alone_has_the_b0_signal_one() -> None:
    model = signal_model(("WM",))
    assert model.scale == pytest.approx(S0["WM"])
    signal = model.kernel[:, 0] * UNIT_COEFFICIENT
    np.testing.assert_allclose(signal[:2], 1.0, atol=1e-12)


@pytest.mark.parametrize("tissue", ["GM", "CSF"])
def test_an_isotropic_tissue_gives_its_own_signal_in_every_direction(tissue: str) -> None:
    model = signal_model(("WM", "GM", "CSF"), BVALS)
    assert model.tissues == ("WM", "GM", "CSF")
    column = model.n_coef + ("GM", "CSF").index(tissue)
    signal = model.kernel[:, column] * UNIT_COEFFICIENT
    bvals = gradient_table(BVALS).bvals
    expected = S0[tissue] * np.exp(-DIFFUSIVITY[tissue] * bvals) / S0["WM"]
    np.testing.assert_allclose(signal, expected, rtol=1e-9)


def test_a_response_of_other_shells_is_refused_with_both_counts() -> None:
    table = gradient_table(BVALS)
    with pytest.raises(ResponseError, match=r"WM response has 2 rows, but the data have 3 shells"):
        build_signal_model(table, cluster_shells(table.bvals), responses(("WM",)), 4)


def test_b0_volumes_are_averaged_onto_every_vertex() -> None:
    model = signal_model()
    matrix = shell_interpolation(model, hemisphere(2).vertices, 4, _all(model))
    dwi = np.r_[3.0, 5.0, np.zeros(20)]
    np.testing.assert_allclose(matrix[:, 0] @ dwi, 4.0)
    assert not matrix[:, 1, :2].any()
    assert not matrix[:, 0, 2:].any()


def test_interpolation_keeps_a_constant_and_nearly_keeps_a_smooth_function() -> None:
    model = signal_model()
    vertices = hemisphere(2).vertices
    matrix = shell_interpolation(model, vertices, 4, _all(model))[:, 1]
    np.testing.assert_allclose(matrix[:, 2:].sum(axis=1), 1.0, atol=1e-9)

    def smooth(directions: np.ndarray) -> np.ndarray:
        return (directions @ np.array([0.6, 0.0, 0.8])) ** 2

    expected = smooth(vertices)
    error = matrix[:, 2:] @ smooth(model.bvecs_ras[2:]) - expected
    assert np.linalg.norm(error) < 0.15 * np.linalg.norm(expected - expected.mean())


def test_the_dictionary_gives_the_signal_of_amplitudes() -> None:
    model = signal_model()
    vertices = hemisphere(2).vertices
    coefficients = np.random.default_rng(0).standard_normal(model.n_coef + 1)
    amplitudes = sh_basis(vertices, model.lmax) @ coefficients[: model.n_coef]
    unknowns = np.r_[amplitudes, coefficients[model.n_coef :]]
    lobes = np.r_[coefficients[: model.n_coef] * fibre_lobe(model.lmax), coefficients[-1]]
    actual = vertex_dictionary(model, vertices) @ unknowns
    np.testing.assert_allclose(actual, model.kernel @ lobes, atol=1e-9)


@pytest.mark.parametrize("lmax", [8, 18])
def test_the_side_lobes_of_a_fibre_are_smaller_than_those_of_a_delta_function(lmax: int) -> None:
    angle = np.radians(np.arange(0.0, 90.0, 0.5))
    meridian = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], axis=1)
    delta_sh = sh_basis(np.array([[0.0, 0.0, 1.0]]), lmax)[0]
    delta, lobe = (sh_basis(meridian, lmax) @ (delta_sh * s) for s in (1.0, fibre_lobe(lmax)))
    side_of_delta, side_of_lobe = (f[np.argmax(f < 0) :].max() / f[0] for f in (delta, lobe))
    assert side_of_lobe < 0.7 * side_of_delta
    assert lobe.min() / lobe[0] > 0.7 * delta.min() / delta[0]


def test_the_lobe_of_a_fibre_keeps_its_volume() -> None:
    assert fibre_lobe(8)[0] == 1.0
    assert fibre_lobe(8)[-1] == 0.5
