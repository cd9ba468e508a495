"""The picture of a connectome shows every pair that is joined, of few regions and of many."""

import matplotlib
import numpy as np
import pytest
from PIL import Image

from shd_bids.reports.figures.connectome import PairMatrices, plot_connectomes


def _matrices(n_region: int, *, joined: bool) -> PairMatrices:
    count = np.zeros((n_region, n_region), dtype=np.int64)
    length = np.full(count.shape, np.nan)
    if joined:
        count[0, -1] = count[-1, 0] = 1
        length[0, -1] = length[-1, 0] = 80.0
    return PairMatrices(
        [f"a very long name of a region {i}" for i in range(n_region)], count, length
    )


@pytest.mark.parametrize("n_region", [1, 400])
def test_a_single_streamline_is_seen(n_region, tmp_path):
    file = plot_connectomes({"x": _matrices(n_region, joined=True)}, tmp_path / "x.png")
    page = np.asarray(Image.open(file).convert("RGB")).astype(int)
    middle = page.shape[1] // 2
    for half, color in (
        (page[:, :middle], matplotlib.colormaps["magma"](0)),
        (page[:, middle:], matplotlib.colormaps["viridis"](255)),
    ):
        _, columns = np.nonzero(abs(half - 255 * np.array(color[:3])).max(axis=-1) < 2)
        assert np.ptp(columns) > 0.5 * middle  # from the first region to the scale


def test_atlases_stand_below_each_other(tmp_path):
    few = {"x": _matrices(3, joined=True)}
    heights = [
        Image.open(plot_connectomes(atlases, tmp_path / "x.png")).height
        for atlases in (few, few | {"y": _matrices(5, joined=False)})
    ]
    assert heights[1] == 2 * heights[0]
