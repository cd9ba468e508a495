"""Slices that lost signal."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from shd_bids.dwi.outliers import (
    find_outliers,
    slice_loss,
    slice_report,
    volume_prediction,
)
from shd_bids.dwi.sampling import Domain, interpolate
from shd_bids.dwi.shells import Shells
from shd_bids.dwi.transforms import PhaseEncoding, VolumeTransforms
from shd_bids.testing.scan import make_affine

SHAPE = (24, 24, 20)
AFFINE = make_affine(SHAPE, 2.0)


@pytest.fixture
def shells():
    return Shells(np.array([0.0, 1000.0]), np.repeat([0, 1], [4, 20]))


@pytest.fixture
def loss(shells):
    noise = np.random.default_rng(0).normal(0, 0.01, (24, 20))
    noise[:, [0, 19]] = np.nan
    return noise


def test_a_slice_far_below_its_shell_is_found(loss, shells):
    loss[9, 7] = -0.3
    outliers, z_scores = find_outliers(loss, shells)
    assert np.argwhere(outliers).tolist() == [[9, 7]]
    assert z_scores[9, 7] < -10


def test_the_report_of_slices_lists_each_outlier_by_its_volume(loss, shells):
    loss[9, 7] = loss[9, 11] = -0.3
    outliers, z_scores = find_outliers(loss, shells)
    report = slice_report(z_scores, outliers)
    assert [(one["volume"], one["slice"]) for one in report["Outliers"]] == [(9, 7), (9, 11)]
    assert all(one["z_score"] < report["OutlierBelow"] for one in report["Outliers"])
    assert report["OutliersPerVolume"] == [2 if volume == 9 else 0 for volume in range(24)]
    assert report["JudgedPerVolume"] == [18] * 24


def test_bright_slices_and_unjudged_ones_are_no_outliers(loss, shells):
    loss[9, 7] = 0.5
    outliers, z_scores = find_outliers(loss, shells)
    assert not outliers.any()
    assert np.isnan(z_scores[:, [0, 19]]).all()


def test_a_slice_that_always_differs_from_its_model_is_no_outlier(loss, shells):
    loss[:, 5] -= 0.3
    assert not find_outliers(loss, shells)[0].any()


def test_only_the_slice_that_dropped_loses_signal():
    observed = np.full(SHAPE, 100.0)
    observed[:, :, 8] *= 0.4
    index = np.nonzero(np.ones(SHAPE, dtype=bool))
    loss = slice_loss(observed, np.full(index[0].shape, 50.0), index, 4.0)
    assert loss[8] == pytest.approx(-0.6)
    assert np.allclose(np.delete(loss, 8), 0)


@pytest.mark.parametrize("field_hz", [0.0, 30.0])
def test_a_prediction_lies_where_the_volume_shows_it(field_hz):
    truth = gaussian_filter(np.random.default_rng(0).random(SHAPE), 2.5).astype(np.float32)
    mask = np.zeros(SHAPE, dtype=bool)
    mask[5:19, 5:19, 4:16] = True
    field = np.full(SHAPE, field_hz)
    domain = Domain.about(mask, AFFINE, [PhaseEncoding(1, 1, 0.05)], field)
    transforms = VolumeTransforms(
        np.array([[1.0, 0.5, -1.0]]),
        np.array([[0.05, 0.0, 0.04]]),
        np.array([[0.0, 0.01, 0.0, 0.5]]),
    )
    seen = interpolate(truth, domain.locate(transforms, 0), 1) / domain.brightness(transforms, 0)
    values, index = volume_prediction(seen.astype(np.float32), domain, transforms, 0)
    assert len(values) > mask.sum() * 0.9
    assert np.corrcoef(values, truth[index])[0, 1] > 0.97
    assert np.median(np.abs(values / truth[index] - 1)) < 0.01
