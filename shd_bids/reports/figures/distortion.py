"""Before and after distortion correction: a picture that flickers when the pointer is over it."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from shd_bids.reports.figures.anatomy import grey_range, to_canonical
from shd_bids.reports.figures.flicker import write_flicker
from shd_bids.reports.figures.images import BAR_FOOTER_IN, color_bar
from shd_bids.reports.figures.mosaic import Painter, Stage

Volume = Float[np.ndarray, "x y z"]
_OUTLINE = "#ffd43b"


def plot_distortion(
    before_a: Volume,
    before_b: Volume,
    after_a: Volume,
    after_b: Volume,
    field_hz: Volume,
    mask: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    out_file: Path,
) -> Path:
    """Draw two b=0 images of opposite phase encoding before and after correction, and the field.

    The outline of the corrected brain lies over both: what was corrected well fits it.

    Parameters
    ----------
    before_a, before_b
        As acquired, one grid.
    after_a, after_b
        Corrected.
    field_hz
        Off-resonance.
    mask
        Of the corrected brain; frames the picture.
    affine
        Voxel to RAS millimetres.
    out_file
        ``.svg``; before it is touched it shows the images before correction.

    Returns
    -------
    Path
        ``out_file``.
    """
    stage = Stage.around(mask, affine)
    field = np.where(stage.mask, to_canonical(field_hz, affine)[0], np.nan)
    known = np.abs(field[np.isfinite(field)])
    limit = max(float(np.percentile(known, 99.5)), 1.0) if known.size else 1.0
    uncorrected = to_canonical(before_a, affine)[0], to_canonical(before_b, affine)[0]
    greys = [grey_range(image, stage.mask, upper=98.0) for image in uncorrected]
    pages = []
    for when, pair in (("before", (before_a, before_b)), ("after", (after_a, after_b))):
        rows = []
        names = ("diffusion series", "opposite phase encoding")
        for name, image, limits in zip(names, pair, greys, strict=True):
            paint = _painter(stage, to_canonical(image, affine)[0], limits)
            title = f"b = 0, {name}: {when} correction"
            rows += stage.rows(("axial", "sagittal"), paint, title)
        colors = stage.painter(field, cmap="RdBu_r", vmin=-limit, vmax=limit)
        rows += stage.rows(("axial", "sagittal"), colors, "field")
        figure = stage.draw(rows, footer_in=BAR_FOOTER_IN)
        color_bar(figure, ScalarMappable(Normalize(-limit, limit), "RdBu_r"), "off-resonance (Hz)")
        pages.append(figure)
    before, after = pages
    return write_flicker(before, after, out_file, title="Before and after distortion correction")


def _painter(stage: Stage, volume: Volume, limits: tuple[float, float]) -> Painter:
    def paint(axes: Axes, plane: str, index: int) -> None:
        stage.show(axes, volume, plane, index, cmap="gray", vmin=limits[0], vmax=limits[1])
        stage.outline(axes, stage.mask, plane, index, _OUTLINE)

    return paint
