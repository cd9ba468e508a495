"""How long, how large and of what values a recognised bundle is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from nibabel.affines import apply_affine

from .draw import EvenLines, even_lines
from .grid import Grid
from .profiles import N_NODE, Profile, centroid, core_weights, profile, runs_backwards
from .streamlines import Streamlines


@dataclass(frozen=True)
class BundleMap:
    """One number per voxel.

    Attributes
    ----------
    name
        Such as ``afd``.
    data
        Voxels that are not finite do not count.
    affine
        Voxel indices to RAS world mm.
    """

    name: str
    data: Float[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]


@dataclass(frozen=True)
class MeasuredBundle:
    """Numbers of one bundle.

    Attributes
    ----------
    label
        Of the model.
    start
        Where node 0 is: left, posterior or inferior.
    n_streamline
        0 if the bundle was not found.
    mean_length_mm
        NaN if it was not found.
    volume_mm3
        Of the voxels that it crosses.
    profiles
        By name of the map; empty if it was not found.
    """

    label: str
    start: str
    n_streamline: int
    mean_length_mm: float
    volume_mm3: float
    profiles: dict[str, Profile]


def measure_bundle(
    label: str,
    bundle: Streamlines,
    to_model: Float[np.ndarray, "4 4"],
    model: EvenLines,
    maps: Sequence[BundleMap],
) -> MeasuredBundle:
    """Measure a bundle and the maps along it.

    Parameters
    ----------
    label
        Of the model.
    bundle
        RAS world mm; perhaps none.
    to_model
        From there to the space of the model.
    model
        Of the same bundle, in its own space.
    maps
        Seen along the bundle; volume is counted in voxels of the first.

    Returns
    -------
    measured
        Each profile from the start of the model.
    """
    middle, start = centroid(model)
    if not len(bundle):
        return MeasuredBundle(label, start, 0, np.nan, 0.0, {})
    shape = apply_affine(to_model, even_lines(bundle, len(middle)))
    lines = even_lines(bundle, N_NODE)
    turn = runs_backwards(shape, middle)
    lines[turn] = lines[turn, ::-1]
    weights = core_weights(lines)
    first = maps[0]
    x, y, z = first.data.shape
    n_voxel = len(np.unique(Grid(first.affine, (x, y, z)).crossed(bundle)[1]))
    return MeasuredBundle(
        label,
        start,
        len(bundle),
        float(bundle.lengths_mm.mean()),
        float(n_voxel * abs(np.linalg.det(first.affine[:3, :3]))),
        {each.name: profile(each.data, each.affine, lines, weights) for each in maps},
    )
