"""Streamlines start where they were asked to."""

import numpy as np
import pytest
from tractography.fodfs import AFFINES, delta_fodf

from shd_bids.errors import TrackingError
from shd_bids.tractography.seeds import (
    SeedRegion,
    image_seeds,
    interface_seeds,
    white_matter_seeds,
)
from shd_bids.tractography.stopping import Anatomy, map_anatomy

SHAPE = (8, 6, 4)


def _half_white() -> Anatomy:
    """Return white matter on the left, grey matter on the right."""
    fodf = np.broadcast_to(delta_fodf([1, 0, 0]), (*SHAPE, 45)).copy()
    tissue = np.zeros((*SHAPE, 3), dtype=np.float32)
    tissue[:4, ..., 0] = tissue[4:, ..., 1] = 1.0
    return map_anatomy(fodf, np.ones(SHAPE, dtype=bool), {}, tissue)


@pytest.mark.parametrize("name", AFFINES)
def test_points_lie_evenly_in_the_voxels(name):
    affine = AFFINES[name]
    voxels = np.random.default_rng(1).uniform(size=SHAPE) > 0.7
    points = SeedRegion(voxels, affine).draw(20_000, np.random.default_rng(0))
    index = np.rint((points - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T).astype(int)
    counts = np.zeros(SHAPE, dtype=int)
    np.add.at(counts, tuple(index.T), 1)
    assert counts[~voxels].sum() == 0
    expected = 20_000 / voxels.sum()
    assert np.all(abs(counts[voxels] - expected) < 5 * np.sqrt(expected))


def test_the_same_number_of_points_lies_in_each_voxel():
    voxels = np.random.default_rng(1).uniform(size=SHAPE) > 0.7
    batches = list(SeedRegion(voxels, np.eye(4)).spread(3, 10, np.random.default_rng(0)))
    assert max(map(len, batches)) == 10
    index = np.rint(np.concatenate(batches)).astype(int)
    counts = np.zeros(SHAPE, dtype=int)
    np.add.at(counts, tuple(index.T), 1)
    np.testing.assert_array_equal(counts, 3 * voxels)


def test_white_matter_is_where_it_is_most_of_the_voxel():
    region = white_matter_seeds(_half_white(), np.eye(4))
    assert region.voxels[:4].all()
    assert not region.voxels[4:].any()


def test_the_interface_is_white_matter_beside_grey_matter():
    region = interface_seeds(_half_white(), np.eye(4))
    assert region.voxels[3].all()
    assert region.voxels.sum() == region.voxels[3].size


def test_an_image_gives_the_voxels_above_a_half():
    values = np.zeros(SHAPE, dtype=np.float32)
    values[1, 2, 3], values[0, 0, 0] = 0.6, 0.4
    assert image_seeds(values, np.eye(4), name="roi.nii.gz").voxels.sum() == 1


def test_regions_without_voxels_are_refused_with_what_was_found():
    anatomy = _half_white()
    nowhere = map_anatomy(np.zeros((*SHAPE, 45)), anatomy.mask, {})
    with pytest.raises(TrackingError, match=r"above 0.5.*largest fraction is 0.00"):
        white_matter_seeds(nowhere, np.eye(4))
    with pytest.raises(TrackingError, match="--seed-from interface needs to know"):
        interface_seeds(nowhere, np.eye(4))
    with pytest.raises(TrackingError, match=r"roi.nii.gz: no voxel is above 0.5 .largest value 0"):
        image_seeds(np.zeros(SHAPE), np.eye(4), name="roi.nii.gz")
