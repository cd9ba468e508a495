"""The polynomial that stands for the coils' shading."""

import numpy as np

from shd_bids.dwi.shading import N_TERM, Shading

PLACES = np.random.default_rng(0).uniform(-60, 60, (50, 3))


def test_terms_are_all_products_of_up_to_three_coordinates():
    x, y, z = (PLACES / 100).T
    terms = Shading(100.0).terms(PLACES)
    assert len(terms) == N_TERM == 19
    for product in (x, z, x * y, z * z, x * x * y, y * z * z):
        assert np.abs(terms - product).max(axis=1).min() < 1e-6


def test_terms_are_the_slopes_of_the_logarithm():
    step = np.random.default_rng(1).normal(size=N_TERM) * 0.1
    before = Shading(100.0).changed(step)
    after = before.changed(step)
    found = np.log(after.at(PLACES) / before.at(PLACES))
    np.testing.assert_allclose(found, step @ before.terms(PLACES), atol=1e-5)


def test_a_level_is_not_shading():
    assert np.allclose(Shading(100.0).terms(np.zeros((1, 3))), 0)
