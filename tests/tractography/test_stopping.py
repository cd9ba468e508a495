"""Where streamlines may go follows from the best tissues that there are."""

import numpy as np
import pytest
from tractography.fodfs import delta_fodf

from shd_bids.tractography.stopping import good_ends, map_anatomy, stopping_criterion

SHAPE = (4, 3, 2)


def _scene(**parts: float) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return fODFs, mask and fractions that are the same everywhere."""
    fodf = np.broadcast_to(0.5 * delta_fodf([1, 0, 0]), (*SHAPE, 45)).copy()
    fractions = {name: np.full(SHAPE, part, dtype=np.float32) for name, part in parts.items()}
    return fodf, np.ones(SHAPE, dtype=bool), fractions


def _tissue(*parts: float) -> np.ndarray:
    return np.broadcast_to(np.array(parts, dtype=np.float32), (*SHAPE, 3)).copy()


def test_t1w_tissues_come_before_those_of_the_deconvolution():
    anatomy = map_anatomy(*_scene(WM=0.5, GM=0.25, CSF=0.25), _tissue(0.1, 0.7, 0.2))
    assert anatomy.source == "T1w"
    np.testing.assert_allclose(anatomy.white_matter, 0.1)
    np.testing.assert_allclose(anatomy.grey_matter, 0.7)
    np.testing.assert_allclose(anatomy.fluid, 0.2)


def test_three_fractions_of_the_deconvolution_are_tissues_once_traces_are_gone():
    traces = map_anatomy(*_scene(WM=0.6, GM=0.2, CSF=0.2))
    assert traces.source == "deconvolution"
    assert traces.knows_grey_matter
    np.testing.assert_allclose(traces.white_matter, 1.0)
    cortex = map_anatomy(*_scene(WM=0.05, GM=0.9, CSF=0.05))
    np.testing.assert_allclose(cortex.grey_matter, 1.0)
    np.testing.assert_allclose(cortex.white_matter, 0.0)


def test_with_two_tissues_grey_matter_is_not_known():
    anatomy = map_anatomy(*_scene(WM=0.7, CSF=0.3))
    assert not anatomy.knows_grey_matter
    np.testing.assert_allclose(anatomy.white_matter, 0.7)


def test_with_white_matter_alone_the_fibre_density_stands_for_the_fraction():
    fodf, mask, alone = _scene(WM=1.0, CSF=0.0)
    assert map_anatomy(fodf, mask, alone).source == "fibre density"
    np.testing.assert_allclose(map_anatomy(fodf, mask, alone).white_matter, 0.5, rtol=1e-5)
    np.testing.assert_allclose(map_anatomy(fodf, mask, {}).white_matter, 0.5, rtol=1e-5)
    np.testing.assert_allclose(map_anatomy(4 * fodf, mask, {}).white_matter, 1.0)


@pytest.mark.parametrize("tissue", [None, _tissue(0.5, 0.3, 0.2)])
def test_there_is_nothing_to_follow_outside_the_mask_or_where_the_fodf_is_low(tissue):
    fodf, mask, fractions = _scene(WM=0.5, CSF=0.5)
    mask[0] = False
    fodf[1] *= 0.01
    fodf[2] = np.nan
    anatomy = map_anatomy(fodf, mask, fractions, tissue)
    assert np.all(anatomy.white_matter[:3] == 0)
    np.testing.assert_array_equal(anatomy.followed[:, 0, 0], [False, False, False, True])
    np.testing.assert_allclose(anatomy.white_matter[3], 0.5)


def test_a_box_is_cut_out_of_every_map():
    anatomy = map_anatomy(*_scene(WM=0.5, CSF=0.5), _tissue(0.5, 0.3, 0.2))
    box = anatomy.within((slice(1, 3), slice(0, 2), slice(0, 1)))
    for name in ("white_matter", "grey_matter", "fluid", "mask", "followed"):
        assert getattr(box, name).shape == (2, 2, 1)


def test_leaving_the_mask_is_an_end_in_grey_matter():
    fodf, mask, fractions = _scene(WM=0.5, CSF=0.5)
    mask[2:] = False
    anatomy = map_anatomy(fodf, mask, fractions, _tissue(1.0, 0.0, 0.0))
    criterion = stopping_criterion(anatomy, step_voxels=0.5)
    assert criterion.get_include(np.array([3.0, 1, 1])) == 1.0
    assert criterion.get_include(np.array([0.0, 1, 1])) == 0.0


@pytest.mark.parametrize(
    ("valid_ends", "good"),
    [
        ("any", [True, True, True, True]),
        ("not-csf", [True, True, False, True]),
        ("grey-matter", [False, True, False, True]),
    ],
)
def test_ends_are_judged_by_the_tissue_that_there_is_most_of(valid_ends, good):
    fodf, mask, fractions = _scene(WM=0.5, CSF=0.5)
    tissue = _tissue(0.6, 0.3, 0.1)
    tissue[1] = [0.2, 0.5, 0.3]
    tissue[2] = [0.2, 0.3, 0.5]
    mask[3] = False
    stops = np.array([[0.0, 1, 1], [1, 1, 1], [2, 1, 1], [9, 1, 1]])
    anatomy = map_anatomy(fodf, mask, fractions, tissue)
    np.testing.assert_array_equal(good_ends(stops, anatomy, valid_ends), good)


def test_every_end_is_good_where_grey_matter_is_not_known():
    anatomy = map_anatomy(*_scene(WM=0.1, CSF=0.9))
    assert good_ends(np.zeros((3, 3)), anatomy, "grey-matter").all()
