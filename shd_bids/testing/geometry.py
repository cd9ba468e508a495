"""The phantom's anatomy: where each tissue is and which way each fibre bundle runs.

Everything is written down in RAS millimetres about the centre of a small brain that fills a
72 x 72 x 56 mm field of view, so that the same anatomy can be scanned with any affine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

FIELD_OF_VIEW_MM = (72.0, 72.0, 56.0)
TISSUES = ("WM", "GM", "CSF")

_BRAIN_RADII_MM = np.array([31.0, 31.0, 23.5])
_CSF_RIM_MM = 2.0
_GM_RIM_MM = 3.5
_EDGE_MM = 0.7  # half width of every tissue and bundle boundary


@dataclass(frozen=True)
class Bundle:
    """A tube of fibres about a smooth centreline; where its radius grows, it fans out."""

    name: str
    points_mm: tuple[tuple[int | float, int | float, int | float], ...]
    radii_mm: tuple[int | float, ...]
    density: float
    intra_fraction: float


# (name, centreline, radius at each point, density, intra-axonal share of its signal)
BUNDLES = (
    Bundle(
        "callosum",
        ((-32, 2, 17), (-16, 2, 10), (0, 2, 7), (16, 2, 10), (32, 2, 17)),
        (8, 6, 6, 6, 8),
        1.0,
        0.66,
    ),
    Bundle(
        "corticospinal-left",
        ((-7, -1, -27), (-10, -1, -8), (-13, -1, 8), (-17, -1, 27)),
        (4, 4.5, 6, 11),
        0.9,
        0.68,
    ),
    Bundle(
        "corticospinal-right",
        ((7, -1, -27), (9, -1, -8), (12, -1, 8), (18, -1, 27)),
        (4, 4.5, 6, 11),
        0.9,
        0.66,
    ),
    Bundle(
        "arcuate-left",
        ((-15, -33, -4), (-17, -16, 8), (-16, 0, 10), (-17, 16, 8), (-15, 33, -4)),
        (6, 5, 5, 5, 6),
        0.8,
        0.62,
    ),
    Bundle(
        "arcuate-right",
        ((0, -33, 6), (10, -13, 10), (16, 0, 10), (21, 13, 9), (26, 28, 4)),
        (6, 5, 5, 5, 6),
        0.8,
        0.62,
    ),
    Bundle(
        "longitudinal-left",
        ((-10, -33, -10), (-14, 0, -11), (-10, 33, -10)),
        (6, 5.5, 6),
        0.8,
        0.60,
    ),
    Bundle(
        "longitudinal-right",
        ((10, -33, -10), (15, 0, -11), (11, 33, -10)),
        (6, 5.5, 6),
        0.8,
        0.60,
    ),
    Bundle(
        "uncinate-left", ((-28, -24, -10), (-13, -2, -11), (2, 22, -11)), (5.5, 5.5, 5.5), 0.8, 0.64
    ),
    Bundle(
        "uncinate-right", ((34, -14, -10), (15, 1, -11), (-4, 16, -11)), (5.5, 5.5, 5.5), 0.8, 0.64
    ),
    Bundle(
        "commissure",
        ((-32, 18, -4), (-12, 14, -8), (12, 14, -8), (32, 18, -4)),
        (4.5,) * 4,
        0.7,
        0.6,
    ),
    Bundle(
        "cingulum", ((-4, -33, 4), (-3, -12, 14), (-3, 4, 15), (-5, 33, 2)), (4.5,) * 4, 0.8, 0.62
    ),
)
# The same brain with two arcs as tight as the fibres about a sulcus, and a fan
BENT_BUNDLES = (
    *BUNDLES,
    Bundle(
        "arc-posterior",
        ((-11, -27, 0), (-9, -19, 0), (0, -14, 0), (9, -19, 0), (11, -27, 0)),
        (5,) * 5,
        1.0,
        0.64,
    ),
    Bundle(
        "arc-superior",
        ((-12, 14, 21), (-9, 14, 13), (0, 14, 8), (9, 14, 13), (12, 14, 21)),
        (5,) * 5,
        1.0,
        0.64,
    ),
    Bundle("fan", ((20, -12, 0), (16, -22, 0), (12, -32, 0)), (2.5, 5, 11), 1.0, 0.62),
)
ASSOCIATION_INTRA_FRACTION = 0.62  # of the smoothly turning fibres that fill the rest

# centre and radii of each blob, mirrored in x
_VENTRICLE_MM = ((4.0, -3.0, -1.5), (3.0, 10.0, 4.0))
_NUCLEUS_MM = ((20.0, 4.0, -1.0), (4.0, 8.0, 4.5))


@dataclass(frozen=True)
class Anatomy:
    """What lies at each point."""

    tissue: Float[np.ndarray, "point 3"]  # WM, GM, CSF; sums to 1 in the brain, 0 outside
    share: Float[np.ndarray, "point bundle"]  # of the white matter; the last is association
    direction: Float[np.ndarray, "point bundle 3"]  # unit vectors


def sample_anatomy(
    points_mm: Float[np.ndarray, "point 3"], bundles: Sequence[Bundle] = BUNDLES
) -> Anatomy:
    """Look up tissues and bundles at points given in RAS mm about the brain's centre."""
    tissue = sample_tissue(points_mm)
    occupancy = np.empty((len(points_mm), len(bundles) + 1))
    direction = np.empty((len(points_mm), len(bundles) + 1, 3))
    for index, bundle in enumerate(bundles):
        occupancy[:, index], direction[:, index] = sample_bundle(bundle, points_mm)
    bundled = occupancy[:, :-1].sum(axis=1)
    occupancy[:, -1] = np.clip(1.0 - bundled, 0.0, None)
    direction[:, -1] = _association_direction(points_mm)
    return Anatomy(tissue, occupancy / occupancy.sum(axis=1, keepdims=True), direction)


def inside(depth_mm: np.ndarray) -> np.ndarray:
    """Turn a depth below a surface into a smooth share of 0 to 1."""
    return 0.5 * (1.0 + np.tanh(depth_mm / _EDGE_MM))


def _ellipsoid_depth(
    points_mm: np.ndarray, centre_mm: np.ndarray, radii_mm: np.ndarray
) -> np.ndarray:
    """Depth below an ellipsoid's surface in mm, to first order in the distance from it."""
    offset = points_mm - centre_mm
    level = np.linalg.norm(offset / radii_mm, axis=1)
    slope = np.linalg.norm(offset / radii_mm**2, axis=1)
    return (1.0 - level) * level / np.maximum(slope, 1e-9)


def sample_tissue(points_mm: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, "point 3"]:
    """Look up white matter, grey matter and fluid of the brain."""
    depth = _ellipsoid_depth(points_mm, np.zeros(3), _BRAIN_RADII_MM)
    # the depth of a first-order ellipsoid is meaningless at its centre, where all is inside
    depth = np.where(np.linalg.norm(points_mm / _BRAIN_RADII_MM, axis=1) < 0.5, 10.0, depth)
    brain = inside(depth)
    csf = brain * (1.0 - inside(depth - _CSF_RIM_MM))
    grey = (brain - csf) * (1.0 - inside(depth - _CSF_RIM_MM - _GM_RIM_MM))
    nucleus, ventricle = (_sample_blobs(points_mm, *b) for b in (_NUCLEUS_MM, _VENTRICLE_MM))
    white = brain - csf - grey
    moved = white * nucleus
    white, grey = white - moved, grey + moved
    csf = csf + (white + grey) * ventricle
    return np.stack([white * (1 - ventricle), grey * (1 - ventricle), csf], axis=1)


def _sample_blobs(
    points_mm: np.ndarray, centre_mm: tuple[float, ...], radii_mm: tuple[int | float, ...]
) -> np.ndarray:
    mirrored = np.abs(points_mm) * [1, 0, 0] + points_mm * [0, 1, 1]
    level = np.linalg.norm((mirrored - centre_mm) / radii_mm, axis=1)
    return inside((1.0 - level) * min(radii_mm))


@dataclass(frozen=True, eq=False)
class Centreline:
    """A bundle at closely spaced points of its middle."""

    tree: cKDTree
    radius_mm: Float[np.ndarray, " knot"]
    tangent: Float[np.ndarray, "knot 3"]
    growth: Float[np.ndarray, " knot"]  # of the radius, a share of it for each mm


@cache
def trace(bundle: Bundle) -> Centreline:
    """Follow the middle of a bundle from its first point to its last."""
    knots = np.asarray(bundle.points_mm, dtype=float)
    length = np.concatenate([[0.0], np.linalg.norm(np.diff(knots, axis=0), axis=1).cumsum()])
    line, width = CubicSpline(length, knots), CubicSpline(length, bundle.radii_mm)
    along = np.linspace(0.0, length[-1], 600)
    radius, tangent = width(along), line(along, 1)
    speed = np.linalg.norm(tangent, axis=1)
    growth = width(along, 1) / speed / radius
    return Centreline(cKDTree(line(along)), radius, tangent / speed[:, None], growth)


def sample_bundle(
    bundle: Bundle, points_mm: Float[np.ndarray, "point 3"]
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, "point 3"]]:
    """Occupancy and direction of one bundle: parallel to its centreline, spread by its fanning."""
    line = trace(bundle)
    reach_mm = line.radius_mm.max() + 5 * _EDGE_MM  # no need to search beyond
    distance, nearest = line.tree.query(points_mm, distance_upper_bound=reach_mm)
    near = np.isfinite(distance)
    distance, nearest = distance[near], nearest[near]
    offset = points_mm[near] - line.tree.data[nearest]
    tilted = line.tangent[nearest] + line.growth[nearest, None] * offset

    occupancy, direction = np.zeros(len(points_mm)), np.tile([0.0, 0.0, 1.0], (len(points_mm), 1))
    occupancy[near] = bundle.density * inside(line.radius_mm[nearest] - distance)
    direction[near] = tilted / np.linalg.norm(tilted, axis=1, keepdims=True)
    return occupancy, direction


def _association_direction(points_mm: np.ndarray) -> np.ndarray:
    """Give a smoothly turning direction (about one degree a millimetre) without singularities."""
    azimuth = np.pi / 2 + points_mm @ [0.022, 0.012, 0.004]
    elevation = points_mm @ [0.004, 0.018, -0.012]
    return np.stack(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ],
        axis=1,
    )
