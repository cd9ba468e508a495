"""Volumes are measured against their shell."""

import numpy as np
import pytest

from shd_bids.dwi.confounds import DESCRIPTIONS, volume_confounds
from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.shells import cluster_shells


@pytest.fixture
def columns():
    generator = np.random.default_rng(0)
    bvecs = generator.normal(size=(13, 3))
    bvecs /= np.linalg.norm(bvecs, axis=1, keepdims=True)
    bvecs[0] = 0
    bvals = np.array([0.0] + [1000.0] * 12)
    raw = generator.uniform(90, 110, size=(4, 4, 4, 13))
    kept = raw.copy()
    kept[..., 5] *= 0.5
    mask = np.ones((4, 4, 4), dtype=bool)
    return volume_confounds(raw, kept, GradientTable(bvals, bvecs), cluster_shells(bvals), mask)


def test_every_column_is_described_and_has_a_row_per_volume(columns):
    assert list(columns) == list(DESCRIPTIONS)
    assert all(len(values) == 13 for values in columns.values())


def test_a_dark_volume_stands_out_from_its_shell(columns):
    ratio = columns["shell_ratio"]
    assert ratio[5] == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(np.delete(ratio, 5), 1.0, atol=0.05)


def test_only_the_volume_that_was_changed_has_a_residual(columns):
    assert np.flatnonzero(columns["residual_std"] > 1e-9).tolist() == [5]
