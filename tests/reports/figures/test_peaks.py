"""Peaks as segments: they lie along their fibres, and their colours say so."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from shd_bids.reports.figures.peaks import plot_peaks
from shd_bids.reports.figures.region import Region

SHAPE = (12, 12, 12)
MASK = np.ones(SHAPE, dtype=bool)
PLANES = ("axial", "coronal", "sagittal")
REGIONS = [Region(plane, 6, (3, 3), (6, 6)) for plane in PLANES]


def drawn(direction, tmp_path, affine=None) -> np.ndarray:
    """Draw the same peak in every voxel, over black."""
    peaks = np.tile(np.asarray(direction, dtype=float), (*SHAPE, 1))
    peaks = np.concatenate([peaks, np.full_like(peaks, np.nan)], axis=-1)
    affine = np.diag([2.0, 2.0, 2.0, 1.0]) if affine is None else affine
    file = plot_peaks(
        {"csd": peaks}, {"csd": np.zeros(SHAPE)}, MASK, affine, REGIONS, tmp_path / "p.png"
    )
    return np.asarray(Image.open(file).convert("RGB"), dtype=float)


def panels(picture: np.ndarray) -> list[np.ndarray]:
    """Cut the three slices out of the page, without the legend."""
    width = picture.shape[1] // 3
    inner = slice(int(0.2 * picture.shape[0]), int(0.8 * picture.shape[0]))
    return [picture[inner, round((k + 0.12) * width) : round((k + 0.88) * width)] for k in range(3)]


def is_ink(panel: np.ndarray, channel: int) -> np.ndarray:
    others = [other for other in range(3) if other != channel]
    return (panel[..., channel] > 120) & (panel[..., others].max(axis=-1) < 60)


@pytest.mark.parametrize(
    ("direction", "channel", "long_in", "dots_in"),
    [((1, 0, 0), 0, (0, 1), 2), ((0, 1, 0), 1, (0, 2), 1), ((0, 0, 1), 2, (1, 2), 0)],
)
def test_a_peak_has_the_colour_and_the_length_of_its_direction(
    direction, channel, long_in, dots_in, tmp_path
):
    inks = [is_ink(panel, channel).sum() for panel in panels(drawn(direction, tmp_path))]
    assert min(inks[k] for k in long_in) > 3 * max(inks[dots_in], 1)


def test_an_oblique_peak_in_the_axial_slice_runs_up_to_the_right(tmp_path):
    axial, *_ = panels(drawn((2, 1, 0), tmp_path))
    pieces, _ = ndimage.label(axial[..., 0] > 120)
    sizes = np.bincount(pieces.ravel())[1:]
    rows, columns = np.nonzero(pieces == 1 + np.argsort(sizes)[len(sizes) // 2])
    assert np.polyfit(columns, -rows, 1)[0] == pytest.approx(0.5, abs=0.1)


def test_voxels_outside_the_mask_get_no_segment(tmp_path):
    peaks = {"csd": np.tile([1.0, 0, 0], (*SHAPE, 1))}
    hollow = MASK.copy()
    hollow[3:9, 3:9] = False
    ink = []
    for mask in (MASK, hollow):
        file = plot_peaks(
            peaks, {"csd": np.zeros(SHAPE)}, mask, np.eye(4), REGIONS[:1], tmp_path / "p.png"
        )
        ink.append(is_ink(np.asarray(Image.open(file).convert("RGB"), dtype=float), 0).sum())
    assert ink[1] / ink[0] == pytest.approx(0.75, abs=0.05)
