"""Two straight bundles that fill known volumes, for the tests of streamline weights."""

from dataclasses import dataclass

import numpy as np
from nibabel.affines import apply_affine

SHAPE = (16, 16, 14)
FRACTIONS = (0.6, 0.3)  # of the voxels that each bundle runs through
RATIO = FRACTIONS[0] / FRACTIONS[1]
RATIO_TOLERANCE = 0.15  # the edges of the second bundle cut through voxels
_LENGTH, _WIDTH, _DEPTH = 6.0, 3.0, 2.0  # half, in voxels
_ANGLE_DEG = 70.0


@dataclass(frozen=True, eq=False)
class Bundle:
    """Voxels of a bundle, its direction in the world, and streamlines that fill it evenly."""

    inside: np.ndarray
    direction: np.ndarray
    lines: list[np.ndarray]


def two_bundles(affine: np.ndarray, n_lines: tuple[int, int], *, apart: float = 3.0):
    """Lay one bundle along the first axis of the image and one askew; 0 apart, they cross."""
    centre = (np.array(SHAPE) - 1) / 2
    angle = np.deg2rad(_ANGLE_DEG)
    bundles = []
    for place, n_line, along in (
        (-apart, n_lines[0], np.array([1.0, 0.0, 0.0])),
        (apart, n_lines[1], np.array([np.cos(angle), np.sin(angle), 0.0])),
    ):
        middle = centre + np.array([0.0, 0.0, place])
        side = np.array([-along[1], along[0], 0.0])
        offset = np.stack(np.indices(SHAPE), axis=-1) - middle
        inside = (
            (abs(offset @ along) < _LENGTH)
            & (abs(offset @ side) < _WIDTH)
            & (abs(offset[..., 2]) < _DEPTH)
        )
        rng = np.random.default_rng(0)
        steps = np.arange(-_LENGTH + 0.25, _LENGTH, 0.5)[:, None]
        lines = []
        for across, deep in rng.uniform(-1, 1, (n_line, 2)):
            start = middle + across * _WIDTH * side + [0, 0, deep * _DEPTH]
            line = start + steps * along
            lines.append(apply_affine(affine, line).astype(np.float32))
        direction = affine[:3, :3] @ along
        bundles.append(Bundle(inside, direction / np.linalg.norm(direction), lines))
    return bundles


def signal(bundles, bvals: np.ndarray, bvecs: np.ndarray) -> np.ndarray:
    """Return the signal over b=0 of the bundles in an isotropic rest, float32."""
    total = np.zeros((*SHAPE, len(bvals)))
    rest = np.ones(SHAPE)
    for fraction, bundle in zip(FRACTIONS, bundles, strict=True):
        tensor = np.exp(-bvals * (0.0003 + 0.0014 * (bvecs @ bundle.direction) ** 2))
        total += fraction * bundle.inside[..., None] * tensor
        rest -= fraction * bundle.inside
    return (total + rest[..., None] * np.exp(-bvals * 0.001)).astype(np.float32)
