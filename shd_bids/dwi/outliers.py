"""Slices that lost signal because the head moved while they were encoded: found and replaced.

As Andersson et al. (NeuroImage 141, 2016): the mean difference of a slice from its prediction is
compared with that of the same slice in the other volumes of the shell. Here the comparison is
robust, so that a slice that drops often is still found.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from nibabel.affines import voxel_sizes

from .sampling import Domain, interpolate
from .shells import Shells
from .transforms import VolumeTransforms, voxel_matrix

THRESHOLD = 4.0  # robust standard deviations below its shell
_LEAST_AREA_MM2 = 400.0  # of the brain in a slice that can be judged
_LEAST_LOSS = 0.1  # of the predicted signal
_LEAST_SPREAD = 0.005  # of the predicted signal
_SHIFT = 0.5  # slices
_N_INVERSION = 4


def volume_prediction(
    prediction: Float[np.ndarray, " voxel"],
    domain: Domain,
    transforms: VolumeTransforms,
    volume: int,
) -> tuple[Float[np.ndarray, " seen"], tuple[np.ndarray, ...]]:
    """Bring a prediction to where the volume shows the brain.

    Parameters
    ----------
    prediction
        On the domain, of a volume without distortion or shading.
    domain, transforms, volume
        Where the volume shows the domain's voxels.

    Returns
    -------
    values
        What the volume should show.
    index
        Its voxels, as an index.
    """
    axis, shift = domain.encodings[volume].axis, domain.shift_vox(volume)
    matrix = np.linalg.inv(voxel_matrix(transforms, volume, domain.affine, domain.shape, axis))
    grid: np.ndarray = np.indices(domain.shape).reshape(3, -1)
    inside = domain.embed(np.ones(len(domain.voxels), np.float32))
    at = matrix[:3, :3] @ grid + matrix[:3, 3:]
    if shift is not None:
        shifted = grid.astype(np.float64)
        for _ in range(_N_INVERSION):
            shifted[axis] = grid[axis] - interpolate(shift.astype(np.float32), at, 1)
            at = matrix[:3, :3] @ shifted + matrix[:3, 3:]
    near = interpolate(inside, at, 1) > 0.99
    at, index = at[:, near], tuple(grid[:, near])
    image = domain.embed(prediction * domain.brightness(transforms, volume))
    return interpolate(image, at, 1), index


def slice_loss(
    observed: Float[np.ndarray, "x y z"],
    prediction: Float[np.ndarray, " seen"],
    index: tuple[np.ndarray, ...],
    voxel_area_mm2: float,
) -> Float[np.ndarray, " z"]:
    """Compare each slice with its prediction: mean difference over mean prediction.

    The volume's own scale is taken out by the median over slices, and so is what half a slice's
    error of the head's place would explain at the brain's ends. Slices with little brain are NaN.
    """
    n_slice = observed.shape[2]
    count = np.bincount(index[2], minlength=n_slice)
    found = np.bincount(index[2], weights=observed[index], minlength=n_slice)
    expected = np.bincount(index[2], weights=prediction, minlength=n_slice)
    judged = (count * voxel_area_mm2 >= _LEAST_AREA_MM2) & (expected > 0)
    loss = np.full(n_slice, np.nan)
    if judged.any():
        ratio = found[judged] / expected[judged]
        shifted = _SHIFT * np.abs(np.gradient(expected))[judged] / expected[judged]
        off = ratio / np.median(ratio) - 1
        loss[judged] = np.sign(off) * np.maximum(np.abs(off) - shifted, 0)
    return loss


def find_outliers(
    loss: Float[np.ndarray, "volume z"], shells: Shells
) -> tuple[Bool[np.ndarray, "volume z"], Float[np.ndarray, "volume z"]]:
    """Find the slices whose signal is far below that of their shell.

    Parameters
    ----------
    loss
        As of `slice_loss`; NaN where not judged.
    shells
        Of the volumes.

    Returns
    -------
    outliers
        True where at least 4 robust standard deviations, and 10 % of the signal, are missing.
    z_scores
        Robust standard deviations from the shell's median; NaN where not judged.
    """
    z_scores = np.full(loss.shape, np.nan)
    for shell in range(shells.n_shell):
        members = shells.volumes(shell)
        judged = members[:, None], np.flatnonzero(~np.isnan(loss[members]).all(axis=0))
        if not judged[1].size:
            continue
        away = loss[judged] - np.nanmedian(loss[judged], axis=0)
        spread = 1.4826 * np.nanmedian(np.abs(away), axis=0)
        z_scores[judged] = away / np.maximum(spread, np.median(spread)).clip(_LEAST_SPREAD)
    with np.errstate(invalid="ignore"):
        return (z_scores < -THRESHOLD) & (loss < -_LEAST_LOSS), z_scores


def slice_report(
    z_scores: Float[np.ndarray, "volume z"], outliers: Bool[np.ndarray, "volume z"]
) -> dict[str, Any]:
    """Say which slices dropped, volume by volume, as fields of ``slice_qc``.

    Parameters
    ----------
    z_scores, outliers
        As of `find_outliers`.

    Returns
    -------
    dict[str, Any]
        Volumes and slices are counted from 0.
    """
    dropped = [
        {"volume": volume, "slice": level, "z_score": round(float(z_scores[volume, level]), 2)}
        for volume, level in np.argwhere(outliers).tolist()
    ]
    return {
        "Description": (
            "Signal of every slice of the series as acquired against its prediction from all other "
            "volumes. All outliers were replaced by their prediction."
        ),
        "Axes": ["volume", "slice, along the third axis of the image"],
        "Units": (
            "robust standard deviations from the median of the slice in its shell; negative where "
            "signal is missing; null where the slice holds too little brain to be judged"
        ),
        "OutlierBelow": -THRESHOLD,
        "OutlierLeastLossPercent": 100 * _LEAST_LOSS,
        "Outliers": dropped,
        "OutliersPerVolume": outliers.sum(axis=1).tolist(),
        "JudgedPerVolume": (~np.isnan(z_scores)).sum(axis=1).tolist(),
    }


def slice_area_mm2(affine: Float[np.ndarray, "4 4"]) -> float:
    """Area of a voxel in its slice, mm²."""
    return float(np.prod(voxel_sizes(affine)[:2]))
