"""Slabs lie where the large bundles run and show what is inside them alone."""

import numpy as np
import pytest
from reports.figures.test_tracts import AFFINE, MASK, bundle, columns_of_view, count_colour

from shd_bids.reports.figures.slabs import _segments, choose_slabs, plot_slabs
from shd_bids.tractography.streamlines import Streamlines

BRAIN = np.argwhere(MASK) @ AFFINE[:3, :3].T + AFFINE[:3, 3]


def moved(direction, by) -> list[np.ndarray]:
    return [(line + np.array(by)).astype(np.float32) for line in bundle(direction)]


def test_the_slabs_lie_beside_the_midline_and_where_most_runs_up_and_across():
    lines = Streamlines.of(moved((0, 0, 1), (0, -12, 0)) + moved((1, 0, 0), (0, 0, 15)))
    sagittal, coronal, axial = choose_slabs(_segments(lines), BRAIN)
    assert sagittal == pytest.approx(-9, abs=1)
    assert coronal == pytest.approx(-12, abs=3)
    assert axial == pytest.approx(15, abs=3)


def test_pieces_join_points_of_one_streamline_only():
    lines = Streamlines.of(bundle((0, 1, 0), 7))
    segments = _segments(lines)
    assert len(segments.step) == len(lines.points) - 7
    assert np.linalg.norm(segments.step, axis=1).max() < 1.1


def test_a_bundle_is_seen_where_the_slab_holds_it_and_not_elsewhere(tmp_path):
    lines = Streamlines.of(moved((0, 0, 1), (20, -12, 0)))
    file = plot_slabs(lines, MASK, AFFINE, tmp_path / "slabs.png")
    assert count_colour(columns_of_view(file, 1), 2) > 500
    assert count_colour(columns_of_view(file, 0), 2) == 0


def test_no_streamlines_and_no_mask_still_give_a_picture(tmp_path):
    assert plot_slabs(Streamlines.of([]), MASK & False, AFFINE, tmp_path / "slabs.png").exists()
