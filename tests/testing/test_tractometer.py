"""Scores of hand-made streamlines between two straight bundles."""

import numpy as np
import pytest

from shd_bids.testing.bundles import BundleTruth
from shd_bids.testing.tractometer import score_streamlines
from shd_bids.tractography.streamlines import Streamlines

VOXEL_MM = 2.0


def _truth(affine: np.ndarray | None = None) -> BundleTruth:
    """Two bundles of 3 x 3 voxels along x, from x=1 to 8, at y=2 and y=7, ends one voxel thick."""
    masks = np.zeros((2, 10, 10, 5), dtype=bool)
    ends = np.zeros((2, 2, 10, 10, 5), dtype=bool)
    for bundle, middle in enumerate((2, 7)):
        across = slice(middle - 1, middle + 2), slice(1, 4)
        masks[bundle, 1:9, *across] = True
        ends[bundle, 0, 0, *across] = True
        ends[bundle, 1, 9, *across] = True
    affine = np.diag([VOXEL_MM] * 3 + [1.0]) if affine is None else affine
    return BundleTruth(("low", "high"), masks, ends, affine)


def _line(*knots: tuple[float, float, float], n_point: int = 30) -> np.ndarray:
    """Go from knot to knot, in voxel indices."""
    along = np.linspace(0, len(knots) - 1, n_point)
    places = np.arange(len(knots))
    return np.stack([np.interp(along, places, axis) for axis in np.transpose(knots)], axis=1)


def _score(*lines: np.ndarray):
    return score_streamlines([Streamlines.of([line * VOXEL_MM for line in lines])], _truth())


THROUGH = _line((0, 2, 2), (9, 2, 2))


def test_a_streamline_from_end_to_end_is_valid_in_either_direction():
    score = _score(THROUGH, THROUGH[::-1]).score()
    assert (score["valid"], score["invalid"], score["none"]) == (100, 0, 0)
    assert (score["valid_bundles"], score["invalid_bundles"], score["n_bundle"]) == (1, 0, 2)


def test_a_streamline_between_two_bundles_is_invalid_and_their_pair_an_invalid_bundle():
    across = _line((0, 2, 2), (9, 7, 2))
    score = _score(across, across[::-1], THROUGH, _line((0, 7, 2), (9, 2, 2))).score()
    assert (score["valid"], score["invalid"], score["none"]) == (25, 75, 0)
    assert score["invalid_bundles"] == 2


@pytest.mark.parametrize(
    "line",
    [
        _line((0, 2, 2), (5, 2, 2)),
        _line((0, 2, 2), (5, 2, 2), (0, 3, 2)),
        _line((-9, 2, 2), (20, 2, 2)),
        _line((4, 2, 2), (6, 2, 2)),
    ],
    ids=["stops half way", "comes back", "ends outside of the image", "joins nothing"],
)
def test_a_streamline_that_joins_nothing_is_no_connection(line: np.ndarray):
    score = _score(line, THROUGH).score()
    assert (score["valid"], score["invalid"], score["none"]) == (50, 0, 50)


def test_an_end_may_lie_one_voxel_from_its_region_but_not_two():
    assert _score(_line((1, 2, 2), (8, 2, 2))).score()["valid"] == 100
    assert _score(_line((2, 2, 2), (8, 2, 2))).score()["valid"] == 0


def test_overlap_is_the_share_of_a_bundle_that_was_crossed():
    one = _score(THROUGH).score_bundles()
    np.testing.assert_allclose(one["overlap"], [1 / 9, 0])
    np.testing.assert_allclose(one["overreach"], 0)
    all_nine = [_line((0, y, z), (9, y, z)) for y in (1, 2, 3) for z in (1, 2, 3)]
    np.testing.assert_allclose(_score(*all_nine).score_bundles()["f1"], [1, 0])


def test_overreach_is_what_was_crossed_elsewhere_as_a_share_of_the_bundle():
    detour = _line((0, 2, 2), (1, 2, 2), (1, 2, 4), (8, 2, 4), (8, 2, 2), (9, 2, 2), n_point=51)
    score = _score(detour).score_bundles()
    np.testing.assert_allclose(score["overlap"][0], 4 / 72)
    np.testing.assert_allclose(score["overreach"][0], 8 / 72)
    precision, recall = 4 / 12, 4 / 72
    np.testing.assert_allclose(score["f1"][0], 2 * precision * recall / (precision + recall))


def test_voxels_between_distant_points_are_crossed():
    np.testing.assert_allclose(_score(THROUGH[[0, -1]]).score_bundles()["overlap"][0], 1 / 9)


def test_where_two_bundles_share_their_ends_the_one_that_was_followed_is_found():
    truth = _truth()
    ends = truth.ends.copy()
    ends[1] = ends[0]
    bent = _line((0, 2, 2), (1, 7, 2), (8, 7, 2), (9, 2, 2))
    shared = BundleTruth(truth.names, truth.masks, ends, truth.affine)
    tractometer = score_streamlines([Streamlines.of([bent * VOXEL_MM])], shared)
    assert tractometer.n_valid.tolist() == [0, 1]


def test_batches_and_the_frame_of_the_image_do_not_matter():
    lines = [THROUGH, _line((0, 2, 2), (9, 7, 2)), _line((0, 7, 2), (9, 8, 3)), THROUGH[:9]]
    affine = np.diag([-VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    affine[:3, 3] = [30, -20, 10]
    whole = _score(*lines)
    turned = [line @ affine[:3, :3].T + affine[:3, 3] for line in lines]
    parts = score_streamlines((Streamlines.of([line]) for line in turned), _truth(affine))
    assert whole.score() == parts.score()
    assert whole.invalid == parts.invalid


def test_no_streamline_scores_zero():
    for score in (_score().score(), score_streamlines([], _truth()).score()):
        assert score["n_streamline"] == score["valid"] == score["none"] == score["f1"] == 0
