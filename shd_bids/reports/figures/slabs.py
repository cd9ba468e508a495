"""What runs inside three slabs of a tractogram, where the large bundles are known by sight.

A whole tractogram hides its inside. Beside the midline the cingulum arches over the corpus
callosum; the axial slab with most fibres from side to side holds the callosum; the coronal slab
with most fibres that run up and down below it, near the midline, holds the corticospinal tracts.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from shd_bids.reports.figures.images import direction_legend
from shd_bids.reports.figures.panels import view_panels
from shd_bids.reports.figures.style import save_figure
from shd_bids.reports.figures.views import VIEWS, View, direction_hue
from shd_bids.tractography.streamlines import Streamlines

_THICK_MM = 10.0
_BESIDE_MIDLINE_MM = 9.0  # the cingulum, here of the left half
_DEEP_MM = 30.0
_BACKDROP = "#1d1d1d"
_OVERLAP = 1.3  # of the discs that voxels are drawn as, so that they join


@dataclass(frozen=True)
class Segments:
    """Straight pieces of streamlines.

    Attributes
    ----------
    middle, step
        RAS mm.
    """

    middle: Float[np.ndarray, "segment 3"]
    step: Float[np.ndarray, "segment 3"]


def plot_slabs(
    streamlines: Streamlines,
    mask: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    out_file: Path,
) -> Path:
    """Draw the pieces of streamlines inside a sagittal, a coronal and an axial slab of 10 mm.

    Parameters
    ----------
    streamlines
        RAS mm; ten thousand fill the slabs.
    mask
        Of the brain; its outline in each slab is the backdrop.
    affine
        Voxel to RAS millimetres.
    out_file
        ``.png``.

    Returns
    -------
    Path
        ``out_file``.
    """
    brain = np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3]
    segments = _segments(streamlines)
    figure, panels = view_panels()
    places_mm = choose_slabs(segments, brain)
    for axes, view, place_mm in zip(panels, VIEWS, places_mm, strict=True):
        axis = int(np.argmax(np.abs(view.toward)))
        inside = np.abs(segments.middle[:, axis] - place_mm) < _THICK_MM / 2
        voxels = brain[np.abs(brain[:, axis] - place_mm) < _THICK_MM / 2] @ view.page.T
        points_per_mm = 72.0 / figure.dpi * _frame(axes, view, brain)
        wide = _OVERLAP * points_per_mm * float(np.linalg.norm(affine[:3, :3], axis=0).max())
        axes.scatter(voxels[:, 0], voxels[:, 1], s=wide**2, color=_BACKDROP, linewidths=0)
        middle, step = (each[inside] @ view.page.T for each in (segments.middle, segments.step))
        hue = direction_hue(segments.step[inside])
        near = np.argsort(middle[:, 2], kind="stable")
        pieces = np.stack([middle - step / 2, middle + step / 2], axis=1)[near, :, :2]
        axes.add_collection(LineCollection(list(pieces), colors=hue[near], linewidths=0.7))
        axes.set_title(_title(axis, place_mm), color="white", fontsize=11)
    direction_legend(figure)
    return save_figure(figure, out_file, dpi=140, n_color=256)


def choose_slabs(
    segments: Segments, brain: Float[np.ndarray, "voxel 3"]
) -> tuple[float, float, float]:
    """Choose where the slabs lie.

    Returns
    -------
    tuple
        x of the sagittal, y of the coronal and z of the axial slab, RAS mm.
    """
    centre = brain.mean(axis=0) if len(brain) else np.zeros(3)
    across, forward, up = segments.middle.T
    axial = _fullest(up, np.abs(segments.step[:, 0]), float(centre[2]))
    # Below the callosum and near the midline, what runs up and down are the corticospinal tracts.
    deep = (np.abs(across - centre[0]) < _DEEP_MM) & (up < axial)
    coronal = _fullest(forward[deep], np.abs(segments.step[deep, 2]), float(centre[1]))
    return float(centre[0] - _BESIDE_MIDLINE_MM), coronal, axial


def _segments(streamlines: Streamlines) -> Segments:
    points = streamlines.points.astype(float)
    goes_on = np.ones(len(points), dtype=bool)
    goes_on[streamlines.last] = False
    here = np.flatnonzero(goes_on)
    step = points[here + 1] - points[here]
    return Segments(points[here] + step / 2, step)


def _fullest(
    places_mm: Float[np.ndarray, " segment"],
    weights: Float[np.ndarray, " segment"],
    otherwise_mm: float,
) -> float:
    """Return the middle of the slab that holds most weight."""
    if not weights.any():
        return otherwise_mm
    edges = np.arange(places_mm.min() - 1, places_mm.max() + 2)
    counts, _ = np.histogram(places_mm, edges, weights=weights)
    held = np.convolve(counts, np.ones(int(_THICK_MM)), mode="same")
    return float(edges[np.argmax(held)] + 0.5)


def _frame(axes: Axes, view: View, brain: Float[np.ndarray, "voxel 3"]) -> float:
    """Show the whole brain's extent; return the pixels of a millimetre."""
    reach = brain @ view.page.T if len(brain) else np.zeros((1, 3))
    low, high = reach.min(axis=0)[:2] - 5, reach.max(axis=0)[:2] + 5
    box = axes.get_window_extent()
    extent = np.array([box.width, box.height])
    per_mm = float(min(extent / (high - low)))
    (left, foot), (right, top) = ((low + high + side * extent / per_mm) / 2 for side in (-1, 1))
    axes.set(xlim=(left, right), ylim=(foot, top))
    axes.set_aspect("equal")
    return per_mm


def _title(axis: int, place_mm: float) -> str:
    plane, letter = ("sagittal", "coronal", "axial")[axis], "xyz"[axis]
    return f"{plane} slab, {letter} = {place_mm:.0f} mm"
