"""Each shell as a whole brought to the b=0 volumes, by mutual information and by steadiness.

Volumes of one shell find each other, but of where they all lie their likelihood knows nothing. That
the head is steady says it where volumes are stored as they were acquired and b=0 volumes lie
between the others. Where they do not, as when a b=0 volume of the start is stored at the end, the
images must say it. Mutual information times the number of independent voxels is the likelihood of
how intensities go together, so that both can be weighed: of a small, round head, of whose rotation
the images say little, steadiness decides.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import gaussian_filter
from scipy.optimize import OptimizeResult, minimize
from scipy.spatial.transform import Rotation

from .sampling import Domain, interpolate
from .shells import Shells
from .steadiness import Steadiness, surprise
from .transforms import VolumeTransforms

LOGGER = logging.getLogger(__name__)

_SMOOTHING_VOX = 1.0  # else interpolation alone makes a moved image fit better
_TRUST = 0.2  # of the images: part of how they differ is not noise
_N_BIN = 48
_BLUR_BINS = 1.0
_RIM = 0.5  # per cent of the voxels that may be darker or brighter than the bins


def place_shells(
    signal: Float[np.ndarray, "volume voxel"],
    domain: Domain,
    transforms: VolumeTransforms,
    shells: Shells,
    steadiness: Steadiness,
    *,
    chosen: Bool[np.ndarray, " voxel"],
) -> VolumeTransforms:
    """Move all volumes of a shell alike, so that their mean fits that of the b=0 volumes.

    Parameters
    ----------
    signal
        What the volumes show on the domain, not smoothed.
    domain, transforms
        Where the volumes show the domain.
    shells
        Of the volumes.
    steadiness
        How far the head is expected to move between two volumes.
    chosen
        Voxels to compare.

    Returns
    -------
    VolumeTransforms
        The b=0 volumes lie where they lay.
    """
    some = domain.only(chosen)
    b0 = some.pick(_smooth_mean(signal, domain, shells.volumes(0)))
    n_independent = _TRUST * domain.brain.sum() / (4 * np.pi * _SMOOTHING_VOX**2) ** 1.5
    for shell in range(1, shells.n_shell):
        members = shells.volumes(shell)
        image = _smooth_mean(signal, domain, members)
        problem = _Placement(b0, image, some, n_independent, transforms, members, steadiness)
        # from where the shell lies, and from where the images alone would have it
        starts = np.zeros(6), _search(problem.unlikeness, np.zeros(6)).x
        step = min((_search(problem.cost, start) for start in starts), key=lambda one: one.fun).x
        transforms = problem.move(step)
        LOGGER.info(
            "Shell b=%g moved by %.2f mm and %.2f degrees to the b=0 volumes.",
            shells.bvals[shell],
            np.linalg.norm(step[:3]),
            np.rad2deg(np.linalg.norm(step[3:])),
        )
    return transforms


@dataclass(frozen=True, eq=False)
class _Placement:
    """What it costs to move a shell by a step: translation in mm, rotation vector in radians."""

    b0: Float[np.ndarray, " voxel"]
    image: Float[np.ndarray, "x y z"]  # mean of the shell
    domain: Domain
    n_independent: float
    transforms: VolumeTransforms
    members: Int[np.ndarray, " member"]
    steadiness: Steadiness

    def cost(self, step: Float[np.ndarray, "6"]) -> float:
        return self.unlikeness(step) + surprise(self.move(step), self.steadiness)

    def unlikeness(self, step: Float[np.ndarray, "6"]) -> float:
        turned = self.domain.centred_mm() @ Rotation.from_rotvec(step[3:]).as_matrix().T + step[:3]
        centre = (np.array(self.domain.shape)[:, None] - 1) / 2
        at = np.linalg.solve(self.domain.affine[:3, :3], turned.T) + centre
        return -self.n_independent * mutual_information(self.b0, interpolate(self.image, at, 1))

    def move(self, step: Float[np.ndarray, "6"]) -> VolumeTransforms:
        """Let the shell's volumes show the domain where they showed what the step takes it to."""
        turns = self.transforms.rotations()[self.members]
        translation = self.transforms.translation_mm.copy()
        angles = self.transforms.rotation_rad.copy()
        translation[self.members] += turns @ step[:3]
        turned = turns @ Rotation.from_rotvec(step[3:]).as_matrix()
        angles[self.members] = Rotation.from_matrix(turned).as_euler("xyz")
        return replace(self.transforms, translation_mm=translation, rotation_rad=angles)


def mutual_information(
    first: Float[np.ndarray, " voxel"], second: Float[np.ndarray, " voxel"]
) -> float:
    """Give what one image tells of the other, in nats per voxel.

    The joint histogram is blurred, so that it changes smoothly as one image moves.

    Examples
    --------
    >>> values = np.repeat(np.arange(8.0), 1000)
    >>> mutual_information(values, 1 / (1 + values)) > mutual_information(values, values[::-1] * 0)
    True
    """
    limits = [np.percentile(values, [_RIM, 100 - _RIM]) for values in (first, second)]
    bins = [
        ((values - low) / max(high - low, 1e-12) * (_N_BIN - 1)).clip(0, _N_BIN - 1)
        for values, (low, high) in zip((first, second), limits, strict=True)
    ]
    low = [np.floor(values).astype(int).clip(0, _N_BIN - 2) for values in bins]
    part = [values - floor for values, floor in zip(bins, low, strict=True)]
    joint = np.zeros((_N_BIN, _N_BIN))
    for i in (0, 1):
        for j in (0, 1):
            share = np.abs(1 - i - part[0]) * np.abs(1 - j - part[1])
            flat = (low[0] + i) * _N_BIN + low[1] + j
            joint += np.bincount(flat, share, _N_BIN**2).reshape(joint.shape)
    joint = gaussian_filter(joint, _BLUR_BINS, mode="constant")
    joint /= joint.sum()
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    filled = joint > 0
    return float((joint[filled] * np.log(joint[filled] / apart[filled])).sum())


def _search(
    cost: Callable[[Float[np.ndarray, "6"]], float], start: Float[np.ndarray, "6"]
) -> OptimizeResult:
    """Find the step, mm and radians, of least cost near a start."""
    unit = np.repeat([0.5, np.deg2rad(0.5)], 3)
    options = {"xtol": 0.02, "ftol": 1e-6}
    found = minimize(lambda some: cost(some * unit), start / unit, method="Powell", options=options)
    found.x = found.x * unit
    return found


def _smooth_mean(
    signal: Float[np.ndarray, "volume voxel"], domain: Domain, members: Int[np.ndarray, " member"]
) -> Float[np.ndarray, "x y z"]:
    return gaussian_filter(domain.embed(signal[members].mean(axis=0)), _SMOOTHING_VOX)
