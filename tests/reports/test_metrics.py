"""Numbers beside the pictures."""

import numpy as np
import pytest

from shd_bids.reports.metrics import (
    fraction_metrics,
    mask_volume_ml,
    noise_metrics,
    residual_metrics,
    tract_metrics,
)

SHAPE = (12, 12, 12)
MASK = np.ones(SHAPE, dtype=bool)
RNG = np.random.default_rng(8)


def test_the_residual_is_given_in_percent_per_model():
    metrics = residual_metrics({"csd": np.full(SHAPE, 0.04)}, MASK)
    assert metrics["csd"] == pytest.approx({"median_percent": 4.0, "p95_percent": 4.0})


def test_what_denoising_removed_is_measured():
    signal = np.full(SHAPE, 200.0)
    noise = RNG.normal(0, 10, SHAPE)
    metrics = noise_metrics(signal + noise, signal, MASK)
    assert metrics["removed_sd"] == pytest.approx(10, rel=0.1)
    assert metrics["removed_percent"] == pytest.approx(5, rel=0.1)
    assert abs(metrics["bias_percent"]) < 0.5


def test_fractions_are_averaged_inside_the_mask():
    half = MASK.copy()
    half[6:] = False
    volume = np.where(half, 0.25, 1.0)
    assert fraction_metrics({"WM": volume}, half) == pytest.approx({"WM": 0.25})


def test_an_oblique_mask_keeps_its_volume():
    turn = np.deg2rad(30)
    affine = np.eye(4)
    affine[:2, :2] = 2 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    affine[2, 2] = -2.5
    assert mask_volume_ml(MASK, affine) == pytest.approx(1728 * 10 / 1000)


def test_streamlines_are_counted_and_their_lengths_summed_up():
    metrics = tract_metrics(np.array([7.0, 5.0, 9.0], dtype=np.float32))
    assert metrics == pytest.approx({"count": 3, "median_length_mm": 7.0, "p95_length_mm": 8.8})


def test_nothing_measures_zero():
    nothing = np.zeros(SHAPE, dtype=bool)
    volume = np.ones(SHAPE)
    assert residual_metrics({"csd": volume}, nothing)["csd"]["median_percent"] == 0
    assert noise_metrics(volume, volume, nothing)["removed_sd"] == 0
    assert fraction_metrics({"WM": volume}, nothing)["WM"] == 0
    assert tract_metrics(np.zeros(0))["count"] == 0
