"""A volume brought to a target of the same contrast, by Gauss-Newton.

The volume is compared where the corrected grid's voxels are found in it, so that the parameters are
those of `transforms`. Its slope there is taken from the target, which has less noise than the
volume and none in common with it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from nibabel.affines import voxel_sizes
from scipy.spatial.transform import Rotation

from .sampling import Domain, interpolate, lies_inside
from .transforms import VolumeTransforms

HUBER = 3.0  # robust standard deviations
_STILL_VOX = 0.01  # a step that moves no voxel further ends the search
_N_STEP = 10
_FURTHEST_MM = 30.0
_LEAST_OVERLAP = 0.3
N_RIGID = 6  # parameters of the head; those of the eddy currents follow
PRIOR = np.repeat([3.0, np.deg2rad(3.0), 0.02, 1.0], [3, 3, 3, 1])  # how far a search may well go


@dataclass(frozen=True, eq=False)
class Fit:
    """Where a volume was found.

    ``failed`` says why the search was given up; then the transforms are those it started from.
    """

    transforms: VolumeTransforms
    failed: str = ""


def register_volume(
    image: Float[np.ndarray, "x y z"],
    target: Float[np.ndarray, " voxel"],
    domain: Domain,
    transforms: VolumeTransforms,
    volume: int,
    *,
    chosen: Bool[np.ndarray, " voxel"],
    order: int = 1,
    information: float = 1.0,
) -> Fit:
    """Find the head in one volume.

    The robust squared difference between the volume and the scaled target is made small, over both
    the scale and the head's place.

    Parameters
    ----------
    image
        The volume; spline coefficients if the order is above 1.
    target
        What it should look like, on the domain.
    domain
        Voxels of the corrected grid.
    transforms
        Of all volumes; the search starts from those of this one.
    volume
        Which one.
    chosen
        Voxels to compare.
    order
        Of the interpolation.
    information
        Independent measurements per voxel: below 1 where the images are smooth. It weighs what is
        seen against the expectation that a search goes some 3 mm and 3 degrees.

    Returns
    -------
    Fit
        Transforms of all volumes; only this volume's differ.
    """
    some = domain.only(chosen)
    centred, compared = some.centred_mm(), target[chosen]
    now, spread, slope = transforms, 0.0, None
    gone = np.zeros(N_RIGID)
    still_mm = _STILL_VOX * voxel_sizes(domain.affine).min()
    for _ in range(_N_STEP):
        at = some.locate(now, volume)
        seen = lies_inside(at, domain.shape)
        if seen.mean() < _LEAST_OVERLAP:
            return Fit(transforms, f"only {seen.mean():.0%} of the brain is in the image")
        values = interpolate(image, at, order) / some.brightness(now, volume)
        scale, residual, weights, spread = _compare(values, compared, seen, spread)
        if slope is None:
            slope = domain.gradient_ras((scale * target).astype(np.float32))[chosen]
        jacobian = derivatives(slope, centred, some, now, volume)[:N_RIGID]
        penalty = spread**2 / information / PRIOR[:N_RIGID] ** 2
        step = _step(np.vstack([jacobian, compared]), residual, weights, penalty, gone)
        gone += step
        before, now = now, advance(now, volume, step)
        if distance_mm(some, now, before, volume) < still_mm:
            break
    moved_mm = distance_mm(some, transforms, now, volume)
    if moved_mm > _FURTHEST_MM:
        return Fit(transforms, f"it would move by {moved_mm:.0f} mm")
    return Fit(now)


def distance_mm(
    domain: Domain, first: VolumeTransforms, second: VolumeTransforms, volume: int
) -> float:
    """Tell how far apart two transforms place the voxels in a volume: root mean square, mm."""
    apart = domain.affine[:3, :3] @ (domain.locate(first, volume) - domain.locate(second, volume))
    return float(np.sqrt((apart**2).sum(axis=0).mean()))


def _compare(
    values: Float[np.ndarray, " voxel"],
    target: Float[np.ndarray, " voxel"],
    seen: Bool[np.ndarray, " voxel"],
    spread: float,
) -> tuple[float, np.ndarray, np.ndarray, float]:
    """Scale the target to the values: the scale, the residual, its weights and its spread.

    The spread is measured once, at the start of a search, so that the costs can be compared.
    """
    weights = seen.astype(np.float32)
    for _ in range(2):
        weighted = weights * target
        scale = float(weighted @ values / max(weighted @ target, 1e-12))
        residual = values - scale * target
        spread = spread or 1.4826 * float(np.median(np.abs(residual[seen]))) + 1e-9
        trust = 1 / np.maximum(np.abs(residual) / (HUBER * spread), 1.0)
        weights = (seen * trust).astype(np.float32)
    return scale, residual, weights, spread


def _step(
    rows: Float[np.ndarray, "7 voxel"],
    residual: Float[np.ndarray, " voxel"],
    weights: Float[np.ndarray, " voxel"],
    penalty: Float[np.ndarray, " rigid"],
    gone: Float[np.ndarray, " rigid"],
) -> Float[np.ndarray, " rigid"]:
    """Solve for the head's next step, its scale along; the way gone so far has its price."""
    weighted = rows * weights
    normal = (weighted @ rows.T).astype(np.float64) + np.diag([*penalty, 0.0])
    right = -(weighted @ residual) - [*(penalty * gone), 0.0]
    size = np.sqrt(np.diag(normal)).clip(1e-12)
    solution = np.linalg.lstsq(normal / np.outer(size, size), right / size, rcond=1e-6)[0]
    return (solution / size)[:N_RIGID]


def derivatives(
    slope: Float[np.ndarray, "voxel 3"],
    centred_mm: Float[np.ndarray, "voxel 3"],
    domain: Domain,
    transforms: VolumeTransforms,
    volume: int,
) -> Float[np.ndarray, "10 voxel"]:
    """Differentiate what is seen of a volume by translation, further rotation, eddy currents.

    The volume's slope is the target's, carried along: where o = E q, q = R p + t and E = 1 + e g',
    it is E^-T R times the slope at p.
    """
    axes = domain.affine[:3, :3] / voxel_sizes(domain.affine)
    phase = axes[:, domain.encodings[volume].axis]
    turned = centred_mm @ transforms.rotations()[volume].T
    slope = slope @ transforms.rotations()[volume].T.astype(slope.dtype)
    pull = np.linalg.solve(axes.T, transforms.eddy[volume, :3])  # the eddy gradient, world axes
    along = slope @ phase / (1 + pull @ phase)
    in_image = (turned + transforms.translation_mm[volume]) @ axes
    rows = [slope, np.cross(turned, slope), along[:, None] * in_image, along[:, None]]
    return np.concatenate(rows, axis=1).T.astype(np.float32)


def advance(
    transforms: VolumeTransforms, volume: int, step: Float[np.ndarray, " row"]
) -> VolumeTransforms:
    """Add a step to a volume's translation, turn it further, and add to its eddy currents."""
    translation, angles, eddy = (
        array.copy()
        for array in (transforms.translation_mm, transforms.rotation_rad, transforms.eddy)
    )
    turn = Rotation.from_rotvec(step[3:6]) * Rotation.from_euler("xyz", angles[volume])
    translation[volume] += step[:3]
    angles[volume] = turn.as_euler("xyz")
    if len(step) > 6:
        eddy[volume] += step[6:]
    return VolumeTransforms(translation, angles, eddy)
