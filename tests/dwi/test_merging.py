"""Runs come to one scale whatever the scanner's gain was, and keep their order."""

import logging

import numpy as np
import pytest

from shd_bids.dwi.gradients import GradientTable, concatenate_gradients
from shd_bids.dwi.merging import match_intensities, merge_runs
from shd_bids.dwi.shells import cluster_shells
from shd_bids.testing.epi import push_along
from shd_bids.testing.phantom import make_phantom

B0 = np.arange(6) < 2


@pytest.fixture(scope="module")
def phantom():
    return make_phantom((14, 14, 10), 5.0, shells={0: 2, 1000: 8})


@pytest.fixture(scope="module")
def run() -> np.ndarray:
    x, y, z = np.indices((9, 8, 7)) - 4.0
    head = 1000.0 * ((x**2 + y**2 + z**2) < 12)
    noise = np.random.default_rng(0).uniform(1, 20, (9, 8, 7, 6))
    return (head[..., None] * np.where(B0, 1.0, 0.4) + noise).astype(np.float32)


def match(runs, is_b0=None, phases=None):
    names = [f"run-{index}" for index in range(1, len(runs) + 1)]
    phases = phases or ["j"] * len(runs)
    return match_intensities(runs, is_b0 or [B0] * len(runs), names=names, phases=phases)


@pytest.mark.parametrize("gain", [0.6, 1.0, 1.7])
def test_a_gain_is_undone(run, gain):
    factors = match([run, gain * run])
    np.testing.assert_allclose(factors, [1, 1 / gain], rtol=1e-6)
    merged = merge_runs([run, gain * run], factors)
    np.testing.assert_allclose(merged[..., 6:], run, rtol=1e-5)


def test_the_median_ratio_of_the_matched_images_is_one(run):
    other = run * np.random.default_rng(1).uniform(1.1, 1.5, run.shape[:3])[..., None]
    second = merge_runs([run, other], match([run, other]))[..., 6:]
    bright = run[..., 0] > 500
    ratio = second[..., B0].mean(axis=3)[bright] / run[..., B0].mean(axis=3)[bright]
    assert np.median(ratio) == pytest.approx(1, rel=1e-5)


def test_the_scale_of_all_runs_together_does_not_matter(run):
    np.testing.assert_allclose(match([run, 1.3 * run]), match([50 * run, 65 * run]), rtol=1e-6)


def test_a_signal_that_moved_at_the_edge_does_not_matter(run):
    moved = 1.4 * np.roll(run, 1, axis=0)
    np.testing.assert_allclose(match([run, moved])[1], 1 / 1.4, rtol=0.02)


def test_distortion_of_opposite_sign_does_not_change_the_scale(run):
    x = np.arange(10) - 4.5  # edges of the cells along the first axis
    shift = np.broadcast_to(1.5 * np.exp(-(x**2) / 8)[:, None, None], (10, 8, 7))
    forth, back = (
        np.stack([push_along(one, sign * shift, 0) for one in np.moveaxis(run, 3, 0)], axis=3)
        for sign in (1, -1)
    )
    factors = match([forth, 1.3 * back], phases=["j", "j-"])
    np.testing.assert_allclose(factors, [1, 1 / 1.3], rtol=1e-4)


def test_a_run_without_b0_keeps_its_scale_with_a_warning(run, caplog):
    none = np.zeros(6, dtype=bool)
    np.testing.assert_array_equal(match([run, 3 * run], [B0, none]), [1, 1])
    assert "run-2 has no b=0 volume" in caplog.text


def test_the_first_run_with_b0_is_the_reference(run):
    factors = match([run, run, 1.25 * run], [np.zeros(6, dtype=bool), B0, B0])
    np.testing.assert_allclose(factors, [1, 1, 0.8], rtol=1e-6)


@pytest.mark.parametrize(("gain", "warned"), [(0.4, True), (0.6, False), (1.9, False), (3, True)])
def test_a_gain_of_more_than_two_is_said(run, gain, warned, caplog):
    with caplog.at_level(logging.WARNING):
        match([run, gain * run])
    assert ("expected 0.5 to 2" in caplog.text) == warned


def test_runs_that_do_not_overlap_are_left_alone(run, caplog):
    empty = np.where(run[..., :1] > 500, 0, run)
    np.testing.assert_array_equal(match([run, empty]), [1, 1])
    assert "dark where the first run's are bright" in caplog.text


def test_one_run_is_handed_back_as_it_is(run, caplog):
    assert merge_runs([run], match([run], [np.zeros(6, dtype=bool)])) is run
    assert caplog.text == ""


def test_shells_of_different_runs_become_one_acquisition(phantom):
    lower = GradientTable(phantom.bvals, phantom.bvecs_ras)
    upper = GradientTable(2.5 * phantom.bvals, phantom.bvecs_ras)
    both = concatenate_gradients([lower, upper])
    assert cluster_shells(both.bvals).describe() == "4 x b=0, 8 x b=1000, 8 x b=2500"
    runs = [phantom.dwi, 1.5 * phantom.dwi]
    is_b0 = [table.bvals <= 100 for table in (lower, upper)]
    merged = merge_runs(runs, match(runs, is_b0))
    assert merged.shape[3] == both.n_volume
    np.testing.assert_allclose(merged[..., 10:], phantom.dwi, rtol=1e-4)
