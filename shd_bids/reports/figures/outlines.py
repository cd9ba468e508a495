"""The outline of the brain over an image, and those of its tissues."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from shd_bids.reports.figures.anatomy import grey_range, to_canonical
from shd_bids.reports.figures.mosaic import Stage
from shd_bids.reports.figures.style import save_figure

_BRAIN_COLOR = "#ffd43b"
_WHITE_COLOR, _FLUID_COLOR = "#ff6b4a", "#4dabf7"
_FOOTER_IN = 0.4


def plot_outlines(
    background: Float[np.ndarray, "x y z"],
    mask: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    out_file: Path,
    *,
    tissue: Float[np.ndarray, "x y z 3"] | None = None,
) -> Path:
    """Draw the outline of the brain over an image, and those of white matter and fluid.

    Over the b=0 image the outline shows the mask. Over the T1w image the outlines show brain
    extraction and segmentation; over the b=0 image again, how the two images fit.

    Parameters
    ----------
    background
        T1w or b=0 image, whole field of view.
    mask
        Of the brain, on the same grid.
    affine
        Voxel to RAS millimetres.
    out_file
        ``.png`` (small) or ``.svg``.
    tissue
        Probabilities of white matter, grey matter and fluid; only the brain by default.

    Returns
    -------
    Path
        ``out_file``.
    """
    stage = Stage.around(mask, affine)
    image, _ = to_canonical(background, affine)
    low, high = grey_range(image, stage.mask)
    outlines = []
    if tissue is not None:
        outlines = [
            ("white matter", to_canonical(tissue[..., 0] > 0.5, affine)[0], _WHITE_COLOR),
            ("fluid", to_canonical(tissue[..., 2] > 0.5, affine)[0], _FLUID_COLOR),
        ]
    outlines.append(("brain", stage.mask, _BRAIN_COLOR))  # last, where it coincides with fluid

    def paint(axes: Axes, plane: str, index: int) -> None:
        stage.show(axes, image, plane, index, cmap="gray", vmin=low, vmax=high)
        for _, region, color in outlines:
            stage.outline(axes, region, plane, index, color)

    rows = stage.rows(("axial", "coronal", "sagittal"), paint)
    if tissue is None:
        return save_figure(stage.draw(rows), out_file)
    figure = stage.draw(rows, footer_in=_FOOTER_IN)
    handles = [Line2D([], [], color=color, label=label) for label, _, color in outlines]
    figure.legend(
        handles=handles, loc="lower center", ncols=len(handles), frameon=False,
        labelcolor="white", fontsize=11,
    )  # fmt: skip
    return save_figure(figure, out_file)
