"""Tissues are told apart by their brightness and sum to one."""

import numpy as np
import pytest
from anat.heads import make_head

from shd_bids.anat.tissue import segment_tissue
from shd_bids.errors import AnatomyError


@pytest.fixture(scope="module")
def segmented():
    phantom, t1w = make_head()
    noise = np.random.default_rng(0).normal(0, 20, t1w.data.shape)
    noisy = (t1w.data + noise).clip(0).astype(np.float32)
    return phantom, segment_tissue(noisy, phantom.mask)


def test_the_tissues_sum_to_one_in_the_mask_and_are_zero_outside(segmented):
    phantom, maps = segmented
    np.testing.assert_allclose(maps[phantom.mask].sum(axis=1), 1.0, atol=1e-5)
    assert not maps[~phantom.mask].any()


def test_each_tissue_is_found_where_it_is(segmented):
    phantom, maps = segmented
    true, found = (tissue.argmax(axis=-1)[phantom.mask] for tissue in (phantom.truth.tissue, maps))
    for tissue in range(3):
        both = ((true == tissue) & (found == tissue)).sum()
        assert 2 * both / ((true == tissue).sum() + (found == tissue).sum()) > 0.85


def test_the_same_image_gives_the_same_tissues():
    phantom, t1w = make_head()
    part = (slice(None), slice(None), slice(6, 10))
    first, second = (segment_tissue(t1w.data[part], phantom.mask[part]) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_an_image_without_contrast_is_refused():
    mask = np.zeros((12, 12, 12), dtype=bool)
    mask[3:9, 3:9, 3:9] = True
    with pytest.raises(AnatomyError, match="no contrast"):
        segment_tissue(np.ones(mask.shape, dtype=np.float32), mask)
