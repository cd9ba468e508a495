"""Matching peaks to fibres."""

import numpy as np

from shd_bids.testing.matching import match_peaks, merge_close_fibres

X, Y, Z = np.eye(3)


def _tilt(degrees: float) -> np.ndarray:
    return np.cos(np.radians(degrees)) * X + np.sin(np.radians(degrees)) * Y


def _match(peaks: list, fibres: list, shares: list[float]):
    return match_peaks(
        np.array([peaks]),
        np.array([fibres]),
        np.array([shares]),
        tolerance_deg=25.0,
        least_share=0.2,
    )


def test_a_peak_finds_the_fibre_it_is_near_whatever_its_sign():
    match = _match([-_tilt(10), Z], [X, Z], [0.5, 0.5])
    np.testing.assert_allclose(match.error_deg, [[10.0, 0.0]], atol=1e-5)
    assert not match.spurious.any()


def test_a_peak_far_from_every_fibre_is_spurious_and_the_fibre_is_missed():
    match = _match([_tilt(40)], [X], [1.0])
    assert match.spurious.tolist() == [[True]]
    assert np.isnan(match.error_deg).all()


def test_one_peak_finds_one_fibre():
    match = _match([_tilt(15), 0 * X], [X, _tilt(28)], [0.5, 0.5])
    assert np.isfinite(match.error_deg).tolist() == [[False, True]]


def test_the_second_peak_at_a_fibre_is_spurious():
    match = _match([_tilt(5), _tilt(-20)], [X, 0 * X], [1.0, 0.0])
    assert match.spurious.tolist() == [[False, True]]


def test_a_small_fibre_need_not_be_found_but_may_be():
    for peaks in ([X, Z], [X, 0 * X]):
        match = _match(peaks, [X, Z], [0.9, 0.1])
        assert match.counted.tolist() == [[True, False]]
        assert not match.spurious.any()


def test_close_fibres_become_their_weighted_mean():
    directions, shares = merge_close_fibres(
        np.array([[X, -_tilt(20), Z]]), np.array([[0.4, 0.4, 0.2]]), closest_deg=25.0
    )
    np.testing.assert_allclose(shares, [[0.8, 0.0, 0.2]])
    np.testing.assert_allclose(directions[0, 0], _tilt(10), atol=1e-9)
