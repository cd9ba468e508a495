"""A volume brought to what it is predicted to show, by Gauss-Newton.

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
PRIOR = np.repeat([3.0, np.deg2rad(3.0), 0.02, 1.0], [3, 3, 3, 1])  # how far a search may well go


@dataclass(frozen=True, eq=False)
class Fit:
    """Where a volume was found.

    ``failed`` says why the search was given up; then the transforms are those it started from.
    """

    transforms: VolumeTransforms
    moved_mm: float  # root mean square over the voxels, by the search
    failed: str = ""


def register_volume(
    image: Float[np.ndarray, "x y z"],
    target: Float[np.ndarray, "term voxel"],
    domain: Domain,
    transforms: VolumeTransforms,
    volume: int,
    *,
    chosen: Bool[np.ndarray, " voxel"],
    bad_slices: Bool[np.ndarray, " z"] | None = None,
    has_eddy: bool = True,
    order: int = 1,
    information: float = 1.0,
) -> Fit:
    """Find the head and the eddy currents of one volume.

    The robust squared difference between the volume and the best weighted sum of the target's
    terms is made small, over both the weights and the transforms.

    Parameters
    ----------
    image
        The volume; spline coefficients if the order is above 1.
    target
        What it should look like, on the domain: one prediction, or terms to be combined.
    domain
        Voxels of the corrected grid.
    transforms
        Of all volumes; the search starts from those of this one.
    volume
        Which one.
    chosen
        Voxels to compare.
    bad_slices
        Slices of the volume that are not compared.
    has_eddy
        Look for eddy currents, too, not only for the head.
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
    terms, centred = target[:, chosen], some.centred_mm()
    now, spread, slope = transforms, 0.0, None
    prior = PRIOR[: None if has_eddy else 6]
    gone = np.zeros(len(prior))
    still_mm = _STILL_VOX * voxel_sizes(domain.affine).min()
    for _ in range(_N_STEP):
        at = some.locate(now, volume)
        seen = lies_inside(at, domain.shape)
        if bad_slices is not None:
            nearest = np.rint(at[2]).astype(int).clip(0, domain.shape[2] - 1)
            seen &= ~bad_slices[nearest]
        if seen.mean() < _LEAST_OVERLAP:
            return Fit(transforms, 0.0, f"only {seen.mean():.0%} of the brain is in the image")
        values = interpolate(image, at, order) * some.stretch(now, volume)
        parts, residual, weights, spread = _compare(values, terms, seen, spread)
        if slope is None:
            slope = domain.gradient_ras((parts @ target).astype(np.float32))[chosen]
        jacobian = derivatives(slope, centred, some, now, volume)[: len(prior)]
        penalty = spread**2 / information / prior**2
        rows = np.concatenate([jacobian, terms])
        step = _solve(rows, -residual, weights, penalty, -penalty * gone)[: len(prior)]
        gone += step
        before, now = now, advance(now, volume, step)
        if distance_mm(some, now, before, volume) < still_mm:
            break
    moved_mm = distance_mm(some, transforms, now, volume)
    if moved_mm > _FURTHEST_MM:
        return Fit(transforms, 0.0, f"it would move by {moved_mm:.0f} mm")
    return Fit(now, moved_mm)


def distance_mm(
    domain: Domain, first: VolumeTransforms, second: VolumeTransforms, volume: int
) -> float:
    """Tell how far apart two transforms place the voxels in a volume: root mean square, mm."""
    apart = domain.affine[:3, :3] @ (domain.locate(first, volume) - domain.locate(second, volume))
    return float(np.sqrt((apart**2).sum(axis=0).mean()))


def _compare(
    values: Float[np.ndarray, " voxel"],
    terms: Float[np.ndarray, "term voxel"],
    seen: Bool[np.ndarray, " voxel"],
    spread: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Combine the terms to the values: their parts, the residual, its weights and its spread.

    The spread is measured once, at the start of a search, so that the costs can be compared.
    """
    weights = seen.astype(np.float32)
    for _ in range(2):
        parts = _solve(terms, values, weights)
        residual = values - parts @ terms
        spread = spread or 1.4826 * float(np.median(np.abs(residual[seen]))) + 1e-9
        weights = seen / np.maximum(np.abs(residual) / (HUBER * spread), 1.0)
    return parts, residual, weights.astype(np.float32), spread


def _solve(
    rows: Float[np.ndarray, "row voxel"],
    values: Float[np.ndarray, " voxel"],
    weights: Float[np.ndarray, " voxel"],
    penalty: Float[np.ndarray, " first"] | None = None,
    pull: Float[np.ndarray, " first"] | None = None,
) -> Float[np.ndarray, " row"]:
    """Solve weighted least squares; rows that are not seen in the values get 0."""
    weighted = rows * weights
    normal, right = (weighted @ rows.T).astype(np.float64), (weighted @ values).astype(np.float64)
    if penalty is not None and pull is not None:
        first = np.arange(len(penalty))
        normal[first, first] += penalty
        right[first] += pull
    size = np.sqrt(np.diag(normal)).clip(1e-12)
    solution = np.linalg.lstsq(normal / np.outer(size, size), right / size, rcond=1e-6)[0]
    return (solution / size).astype(np.float32)


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
