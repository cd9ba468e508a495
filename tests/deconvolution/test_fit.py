"""A fit in memory: networks that see less than they predict."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deconvolution.scans import (
    LMAX,
    TINY,
    gradient_table,
    responses,
    signal_model,
    tiny_signal,
)

from shd_bids.deconvolution import fit
from shd_bids.deconvolution.checkpoint import save_weights
from shd_bids.deconvolution.fit import ShdFit, fit_shd
from shd_bids.deconvolution.presets import Preset
from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.shells import cluster_shells
from shd_bids.errors import WeightsError

N_SHOWN = 10
SHAPE = (6, 6, 6)
TABLE = gradient_table()


def _fit(volumes: np.ndarray, preset: Preset, weights_file: Path | None = None) -> ShdFit:
    """Fit some volumes of the tiny scan."""
    dwi = tiny_signal(signal_model(), SHAPE, noise=0.05)[..., volumes]
    gradients = GradientTable(TABLE.bvals[volumes], TABLE.bvecs_ras[volumes])
    return fit_shd(
        dwi,
        gradients,
        cluster_shells(gradients.bvals),
        np.ones(SHAPE, dtype=bool),
        responses(),
        affine=np.diag([-2.0, 2.0, 2.0, 1.0]),
        preset=preset,
        lmax=LMAX,
        device="cpu",
        precision="float32",
        weights_file=weights_file,
    )


def test_a_network_learns_what_it_is_not_shown() -> None:
    preset = replace(TINY, hidden_parts=3, hidden_views=3, steps=60)
    loss = _fit(np.arange(len(TABLE.bvals)), preset).history.loss
    assert np.mean(loss["total"][-20:]) < 0.98 * np.mean(loss["start"][-20:])


def test_a_network_trained_on_a_long_scan_deconvolves_a_short_one(tmp_path: Path) -> None:
    preset = replace(TINY, hidden_parts=3, hidden_views=3, shown_directions=N_SHOWN, steps=60)
    long = _fit(np.arange(len(TABLE.bvals)), preset)
    loss = long.history.loss
    assert np.mean(loss["total"][-20:]) < 0.98 * np.mean(loss["start"][-20:])
    weights_file = tmp_path / "weights.safetensors"
    save_weights(long.network, weights_file)
    short = _fit(np.arange(2 + N_SHOWN), TINY, weights_file)
    assert not short.history.step
    difference = short.solution.fodf_sh - long.solution.fodf_sh
    assert np.linalg.norm(difference) < 0.5 * np.linalg.norm(long.solution.fodf_sh)


def test_weights_that_do_not_fit_are_refused_before_the_work_begins(tmp_path, monkeypatch):
    def begin(*_, **__):
        raise AssertionError("the start was begun")

    weights_file = tmp_path / "weights.safetensors"
    fitted = _fit(np.arange(2 + N_SHOWN), TINY)
    save_weights(fitted.network, weights_file)
    monkeypatch.setattr(fit, "prepare_scan", begin)
    with pytest.raises(WeightsError, match="do not fit this run"):
        _fit(np.arange(2 + N_SHOWN), replace(TINY, filters=TINY.filters + 1), weights_file)
