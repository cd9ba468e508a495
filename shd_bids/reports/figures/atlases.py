"""Atlases over the image that they were brought to."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Integer
from matplotlib.colors import hsv_to_rgb

from shd_bids.reports.figures.anatomy import grey_range, to_canonical
from shd_bids.reports.figures.mosaic import Stage
from shd_bids.reports.figures.style import save_figure

_OPACITY = 0.45
_GOLDEN = 0.618034  # turns of the colour circle from one label to the next: neighbours differ


def plot_atlases(
    background: Float[np.ndarray, "x y z"],
    mask: Bool[np.ndarray, "x y z"],
    atlases: Mapping[str, Integer[np.ndarray, "x y z"]],
    affine: Float[np.ndarray, "4 4"],
    out_file: Path,
) -> Path:
    """Colour the regions of each atlas over an image.

    Parameters
    ----------
    background
        Mean b=0 image, whole field of view.
    mask
        Of the brain; it frames the picture.
    atlases
        Labels by name, 0 where there is no region.
    affine
        Voxel to RAS millimetres.
    out_file
        ``.png`` or ``.svg``.

    Returns
    -------
    Path
        ``out_file``.
    """
    stage = Stage.around(mask, affine)
    image, _ = to_canonical(background, affine)
    low, high = grey_range(image, stage.mask)
    grey = np.clip((image - low) / (high - low), 0, 1)[..., None]
    rows = []
    for name, labels in atlases.items():
        turned, _ = to_canonical(labels, affine)
        share = np.where(turned > 0, _OPACITY, 0.0)[..., None]
        paint = stage.painter((1 - share) * grey + share * region_colors(turned))
        rows += stage.rows(("axial", "coronal", "sagittal"), paint, name)
    return save_figure(stage.draw(rows), out_file)


def region_colors(labels: Integer[np.ndarray, "*axes"]) -> Float[np.ndarray, "*axes rgb"]:
    """Give every label a colour of its own.

    Examples
    --------
    >>> region_colors(np.array([7])).shape
    (1, 3)
    """
    known, where = np.unique(labels, return_inverse=True)
    hue = (np.arange(len(known)) * _GOLDEN) % 1.0
    colors = hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.85), np.ones_like(hue)], axis=-1))
    return np.asarray(colors[where.reshape(labels.shape)])
