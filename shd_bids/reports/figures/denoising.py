"""Before and after denoising: a picture that flickers when the pointer is over it."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from shd_bids.reports.figures.anatomy import grey_range, to_canonical
from shd_bids.reports.figures.flicker import write_flicker
from shd_bids.reports.figures.mosaic import Row, Stage


def plot_denoising(
    before: Float[np.ndarray, "x y z"],
    after: Float[np.ndarray, "x y z"],
    mask: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    out_file: Path,
    *,
    label: str,
    sigma: Float[np.ndarray, "x y z"] | None = None,
) -> Path:
    """Draw a volume before and after denoising, what was removed, and the noise level.

    What was removed (shown inside the mask) should look like noise: anatomy in it means that
    signal was lost.

    Parameters
    ----------
    before, after
        The same diffusion-weighted volume, the noisiest shell shows most.
    mask
        Frames the picture and sets the grey scale.
    affine
        Voxel to RAS millimetres.
    out_file
        ``.svg``; before it is touched it shows the volume before denoising.
    label
        Which volume it is, such as ``b = 1000 s/mm², volume 12``.
    sigma
        Estimated standard deviation of the noise, if it is known.

    Returns
    -------
    Path
        ``out_file``.
    """
    stage = Stage.around(mask, affine)
    first, second = to_canonical(before, affine)[0], to_canonical(after, affine)[0]
    removed = np.where(stage.mask, first - second, np.nan)
    greys = grey_range(first, stage.mask)
    spread = 3.0 * float(np.std(removed[stage.mask])) if stage.mask.any() else 1.0
    noise = None
    if sigma is not None:
        noise = np.where(stage.mask, to_canonical(sigma, affine)[0], np.nan)
    pages = []
    for title, volume in (("before", first), ("after", second)):
        rows = [
            _row(stage, "axial", volume, greys, f"{title} denoising   {label}"),
            _row(stage, "coronal", volume, greys, ""),
            _row(stage, "axial", removed, (-spread, spread), "removed: before minus after"),
        ]
        if noise is not None:
            limits = (0.0, grey_range(noise, stage.mask)[1])
            rows.append(_row(stage, "axial", noise, limits, _noise_title(noise, stage.mask)))
        pages.append(stage.draw(rows))
    first_page, second_page = pages
    return write_flicker(first_page, second_page, out_file, title="Before and after denoising")


def _row(
    stage: Stage,
    plane: str,
    volume: Float[np.ndarray, "x y z"],
    limits: tuple[float, float],
    title: str,
) -> Row:
    paint = stage.painter(volume, cmap="gray", vmin=limits[0], vmax=limits[1])
    return stage.row(plane, paint, title)


def _noise_title(noise: Float[np.ndarray, "x y z"], mask: Bool[np.ndarray, "x y z"]) -> str:
    known = noise[mask & np.isfinite(noise)]
    if known.size == 0:
        return "noise level"
    return f"noise level: median {np.median(known):.3g} in the units of the scanner"
