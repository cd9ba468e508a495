"""Volumes are measured against their shell and by how the head lay."""

import numpy as np
import pytest

from shd_bids.dwi.confounds import DESCRIPTIONS, volume_confounds
from shd_bids.dwi.displacement import framewise_displacement
from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.shells import cluster_shells
from shd_bids.dwi.transforms import VolumeTransforms


@pytest.fixture
def columns():
    generator = np.random.default_rng(0)
    bvecs = generator.normal(size=(13, 3))
    bvecs /= np.linalg.norm(bvecs, axis=1, keepdims=True)
    bvecs[0] = 0
    bvals = np.array([0.0] + [1000.0] * 12)
    dwi = generator.uniform(90, 110, size=(4, 4, 4, 13))
    dwi[..., 5] *= 0.5
    return volume_confounds(
        dwi,
        GradientTable(bvals, bvecs),
        cluster_shells(bvals),
        np.ones((4, 4, 4), dtype=bool),
        transforms=VolumeTransforms.identity(13),
        dropout=np.arange(13)[:, None] == np.full(4, 7),
    )


def test_every_column_is_described_and_has_a_row_per_volume(columns):
    assert list(columns) == list(DESCRIPTIONS)
    assert all(len(values) == 13 for values in columns.values())


def test_a_dark_volume_stands_out_from_its_shell(columns):
    ratio = columns["shell_ratio"]
    assert ratio[5] == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(np.delete(ratio, 5), 1.0, atol=0.05)


def test_dropped_slices_are_counted_by_volume(columns):
    assert np.flatnonzero(columns["num_bad_slices"]).tolist() == [7]


def test_a_turn_counts_as_its_arc_on_the_head():
    turned = np.zeros((2, 3))
    turned[1, 0] = 0.02
    transforms = VolumeTransforms(np.zeros((2, 3)), turned, np.zeros((2, 4)))
    assert framewise_displacement(transforms)[1] == pytest.approx(1.0)
    assert np.isnan(framewise_displacement(transforms)[0])
