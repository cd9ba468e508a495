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
    b0 = domain.pick(_smooth_mean(signal, domain, shells.volumes(0)))[chosen]
    n_independent = _TRUST * domain.brain.sum() / (4 * np.pi * _SMOOTHING_VOX**2) ** 1.5
    centred, affine = domain.only(chosen).centred_mm(), np.linalg.inv(domain.affine[:3, :3])
    centre = (np.array(domain.shape)[:, None] - 1) / 2
    for shell in range(1, shells.n_shell):
        members = shells.volumes(shell)
        image = _smooth_mean(signal, domain, members)

        def costs(
            step: Float[np.ndarray, "6"],
            image: np.ndarray = image,
            before: VolumeTransforms = transforms,
            members: np.ndarray = members,
        ) -> tuple[float, float]:
            turned = centred @ Rotation.from_rotvec(step[3:]).as_matrix().T + step[:3]
            there = interpolate(image, affine @ turned.T + centre, 1)
            unlike = -n_independent * mutual_information(b0, there)
            return unlike, surprise(_move(before, members, step), steadiness)

        # from where the shell lies, and from where the images alone would have it
        still = np.zeros(6)
        tries = [_search(lambda step: sum(costs(step)), still)]
        tries.append(
            _search(lambda step: sum(costs(step)), _search(lambda step: costs(step)[0], still).x)
        )
        best = min(tries, key=lambda one: one.fun)
        step = best.x
        transforms = _move(transforms, members, step)
        LOGGER.info(
            "Shell b=%g moved by %.2f mm and %.2f degrees to the b=0 volumes.",
            shells.bvals[shell],
            np.linalg.norm(step[:3]),
            np.rad2deg(np.linalg.norm(step[3:])),
        )
    return transforms


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
    options = {"xtol": 0.02, "ftol": 1e-9}
    found = minimize(lambda some: cost(some * unit), start / unit, method="Powell", options=options)
    found.x = found.x * unit
    return found


def _smooth_mean(
    signal: Float[np.ndarray, "volume voxel"], domain: Domain, members: Int[np.ndarray, " member"]
) -> Float[np.ndarray, "x y z"]:
    return gaussian_filter(domain.embed(signal[members].mean(axis=0)), _SMOOTHING_VOX)


def _move(
    transforms: VolumeTransforms,
    members: Int[np.ndarray, " member"],
    step: Float[np.ndarray, "6"],
) -> VolumeTransforms:
    """Let volumes show the domain where they showed what the step takes it to."""
    turns = transforms.rotations()[members]
    translation, angles = transforms.translation_mm.copy(), transforms.rotation_rad.copy()
    translation[members] += turns @ step[:3]
    turned = turns @ Rotation.from_rotvec(step[3:]).as_matrix()
    angles[members] = Rotation.from_matrix(turned).as_euler("xyz")
    return VolumeTransforms(translation, angles, transforms.eddy)
