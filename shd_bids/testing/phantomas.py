"""The 27 bundles of the 2013 HARDI reconstruction challenge, scanned with our own kernels.

A sphere of grey matter holds tubes of radius 2 to 6 mm, which end on its surface, and three balls
of fluid (Caruyer et al., Phantomas, ISMRM 2014). The masks of bundles and end regions are those of
Samuel St-Jean; they hold every voxel that a tube so much as touches.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicHermiteSpline

from shd_bids.errors import BidsDataError

from .bundles import BundleTruth, keep_bundles
from .geometry import Anatomy, Bundle, inside
from .kernels import MEAN_INTRA_FRACTION
from .scan import Phantom, scan_truth
from .scheme import MULTI_SHELL
from .truth import read_array, sample_truth

_GEOMETRY = "isbi_challenge_2013.json"
_SHAPE = (55, 55, 55)
_VOXEL_MM = 2.0
_RADIUS_MM = 48.7  # of the sphere
_N_KNOT = 60


def make_phantomas(
    folder: Path, *, shells: Mapping[int, int] = MULTI_SHELL, snr: float = 20.0, seed: int = 1
) -> tuple[Phantom, BundleTruth]:
    """Scan the challenge's geometry at 2 mm.

    Parameters
    ----------
    folder
        Geometry as ``isbi_challenge_2013.json``, masks in ``bundles`` and ``rois``.
    shells, snr, seed
        As for :func:`.scan.make_phantom`.

    Raises
    ------
    BidsDataError
        The folder holds something else.
    """
    geometry_file = folder / _GEOMETRY
    if not geometry_file.is_file():
        raise BidsDataError(
            f"{folder} holds no {_GEOMETRY}; --phantomas needs the folder with the geometry and "
            "the masks of the 2013 HARDI challenge."
        )
    geometry = json.loads(geometry_file.read_text())
    bundles = [_read_bundle(*item) for item in geometry["fiber_geometries"].items()]
    affine = np.diag([_VOXEL_MM] * 3 + [1.0])
    affine[:3, 3] = -_VOXEL_MM * (np.array(_SHAPE) - 1) / 2
    truth, intra_fractions = sample_truth(
        _SHAPE,
        affine,
        bundles=bundles,
        sample=partial(_sample, balls=list(geometry["isotropic_regions"].values())),
        field_of_view_mm=(_VOXEL_MM * _SHAPE[0],) * 3,
    )
    phantom = scan_truth(truth, intra_fractions, affine, shells=shells, snr=snr, seed=seed)
    masks = [_read_mask(folder / f"bundles/fiber_{i:02d}.nii.gz") for i in range(len(bundles))]
    ends = [
        [_read_mask(folder / f"rois/{i:02d}_{end}.nii.gz") for end in ("head", "tail")]
        for i in range(len(bundles))
    ]
    names = tuple(bundle.name for bundle in bundles)
    return phantom, BundleTruth(names, np.stack(masks), np.stack(ends), affine)


def _read_bundle(name: str, entry: Mapping[str, Any]) -> Bundle:
    """Follow the spline of the geometry: at its ends it stands upright on the sphere."""
    knots = np.reshape(entry["control_points"], (-1, 3))
    length = np.concatenate([[0.0], np.linalg.norm(np.diff(knots, axis=0), axis=1).cumsum()])
    before = knots[1:-1] - knots[:-2]
    after = knots[2:] - knots[1:-1]
    inner = before if entry["tangents"] == "incoming" else before + after
    tangent = np.concatenate([-knots[:1], inner, knots[-1:]])
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    line = CubicHermiteSpline(length, knots, tangent)(np.linspace(0.0, length[-1], _N_KNOT))
    points = tuple((float(x), float(y), float(z)) for x, y, z in line)
    return Bundle(name, points, (float(entry["radius"]),) * _N_KNOT, 1.0, MEAN_INTRA_FRACTION)


def _sample(
    points_mm: Float[np.ndarray, "point 3"],
    bundles: Sequence[Bundle],
    *,
    balls: Sequence[Mapping[str, Any]],
) -> Anatomy:
    sphere = inside(_RADIUS_MM - np.linalg.norm(points_mm, axis=1))
    fluid = np.zeros(len(points_mm))
    for ball in balls:
        depth = ball["radius"] - np.linalg.norm(points_mm - ball["center"], axis=1)
        fluid = np.maximum(fluid, inside(depth))
    tissue = np.stack([sphere * (1 - fluid), np.zeros_like(fluid), sphere * fluid], axis=1)
    return keep_bundles(tissue, points_mm, bundles)


def _read_mask(file: Path) -> np.ndarray:
    return read_array(file) > 0
