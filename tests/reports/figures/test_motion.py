"""The picture of the head's motion shows slices that dropped, and does without them."""

import numpy as np
import pytest
from PIL import Image

from shd_bids.dwi.shells import Shells
from shd_bids.dwi.transforms import VolumeTransforms
from shd_bids.reports.figures.motion import plot_motion

SHELLS = Shells(np.array([0.0, 1000.0]), np.array([0, 1, 1, 1, 0, 1, 1, 1]))


@pytest.fixture
def transforms():
    generator = np.random.default_rng(0)
    return VolumeTransforms(*(generator.normal(0, 0.1, (8, n)) for n in (3, 3, 4)))


def test_a_dropped_slice_is_marked(transforms, tmp_path):
    scores = np.zeros((8, 5))
    scores[:, 0] = np.nan
    dropout = np.zeros((8, 5), dtype=bool)
    pages = []
    for name in ("none", "one"):
        dropout[3, 2] = name == "one"
        file = plot_motion(
            transforms, SHELLS, tmp_path / f"{name}.png", slice_scores=scores, dropout=dropout
        )
        pages.append(np.asarray(Image.open(file)).astype(int))
    assert np.abs(pages[0] - pages[1]).sum() > 0


def test_without_slices_there_is_no_carpet(transforms, tmp_path):
    scores = np.zeros((8, 5))
    plain = Image.open(plot_motion(transforms, SHELLS, tmp_path / "plain.png"))
    carpet = plot_motion(transforms, SHELLS, tmp_path / "carpet.png", slice_scores=scores)
    assert Image.open(carpet).height > plain.height
