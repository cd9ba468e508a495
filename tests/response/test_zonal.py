"""The zonal fit: exact where it can be, physical where it cannot."""

import numpy as np
from scipy.optimize import nnls

from shd_bids.response.cone import ConeSolver
from shd_bids.response.zonal import evaluate_zonal, fit_zonal


def test_a_zonal_function_is_found_again():
    truth = np.array([1900.0, -800.0, 160.0, -19.0])
    cosine = np.random.default_rng(0).uniform(0, 1, (40, 12))
    found = fit_zonal(evaluate_zonal(6, cosine) @ truth, cosine, 6)
    np.testing.assert_allclose(found, truth, rtol=1e-4, atol=1e-2)


def test_noise_makes_no_response_that_falls_away_from_the_fibre():
    generator = np.random.default_rng(1)
    cosine = generator.uniform(0, 1, (3, 12))
    noisy = 100 + 60 * generator.standard_normal(cosine.shape)
    found = fit_zonal(noisy, cosine, 8)
    amplitude = evaluate_zonal(8, np.cos(np.linspace(0, np.pi / 2, 91))) @ found
    assert amplitude[0] > -1e-6
    assert np.diff(amplitude).min() > -1e-6


def test_the_cone_solution_meets_the_optimality_conditions():
    generator = np.random.default_rng(2)
    design, constraint = generator.normal(size=(30, 10)), np.abs(generator.normal(size=(40, 10)))
    target = generator.normal(size=(20, 30))
    normal = design.T @ design
    found = ConeSolver.build(normal, constraint).solve(target @ design)
    slack = found @ constraint.T
    assert slack.min() > -1e-9
    gradient = found @ normal - target @ design
    bound = (slack < 1e-9).any(axis=1)
    assert bound.any()
    np.testing.assert_allclose(gradient[~bound], 0, atol=1e-6)
    for gaps, pull in zip(slack[bound], gradient[bound], strict=True):
        _, distance = nnls(constraint[gaps < 1e-9].T, pull)  # a sum of active normals
        assert distance < 1e-6
