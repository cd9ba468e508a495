"""Numbers that tell a good scan from a bad one, under QSIPrep's names where it has one."""

from dataclasses import dataclass

import numpy as np
from dipy.core.gradients import gradient_table
from dipy.stats.qc import neighboring_dwi_correlation
from jaxtyping import Bool, Float

from .displacement import framewise_displacement
from .gradients import GradientTable
from .shells import Shells
from .transforms import VolumeTransforms

#: What each measure is and its unit; names end in an axis or a shell where this ends in a gap.
_MEANINGS = {
    "raw_dimension_": ("Matrix along {}", "voxels"),
    "raw_voxel_size_": ("Voxel size along {}", "mm"),
    "raw_max_b": ("Largest b-value", "s/mm²"),
    "raw_num_directions": ("Diffusion-weighted volumes", ""),
    "num_volumes_b": ("Volumes at b={} s/mm²", ""),
    "raw_neighbor_corr": ("Correlation of neighbouring volumes, raw", ""),
    "preproc_neighbor_corr": ("Correlation of neighbouring volumes, preprocessed", ""),
    "mask_volume_ml": ("Volume of the brain mask", "ml"),
    "noise_sigma": ("Noise, standard deviation", "scanner units"),
    "snr_b0": ("Signal over noise at b=0", "median in the mask"),
    "cnr_b": ("Contrast over noise at b={} s/mm²", "median in the mask"),
    "tensor_residual": ("Misfit of a tensor to b=0 and the lowest shell", "of the b=0 signal"),
    "mean_fd": ("Framewise displacement, mean", "mm"),
    "max_fd": ("Framewise displacement, largest", "mm"),
    "max_translation": ("Translation from the first b=0, largest", "mm"),
    "max_rotation": ("Rotation from the first b=0, largest", "degrees"),
    "raw_num_bad_slices": ("Slices with dropout, replaced", ""),
    "bad_slices_percent": ("Slices with dropout, of those that hold brain", "%"),
    "max_displacement_mm": ("Distortion along the phase axis, largest", "mm"),
    "rms_displacement_mm": ("Distortion along the phase axis, root mean square", "mm"),
    "difference_before": ("Disagreement of opposite b=0 images, distorted", "of their mean"),
    "difference_after": ("Disagreement of opposite b=0 images, corrected", "of their mean"),
    "gradient_check": ("Whether the gradients fit the images", "1 yes, 0 cannot be told, -1 no"),
    "gradient_coherence": ("Fibre coherence with the gradients as read", ""),
    "gradient_coherence_other": ("Fibre coherence with the best other axes", ""),
    "gradient_lead": ("Fibre coherence as read over the best other", "standard errors"),
    "t1_dice_distance": ("Distance of the T1w mask and the series' mask", "1 - Dice index"),
}


@dataclass(frozen=True, eq=False)
class MeasuredSeries:
    """A diffusion series with what is needed to measure it."""

    dwi: Float[np.ndarray, "x y z volume"]  # scanner units
    gradients: GradientTable
    shells: Shells
    mask: Bool[np.ndarray, "x y z"]
    voxel_size_mm: tuple[float, float, float]


def acquisition_measures(raw: MeasuredSeries) -> dict[str, float | int]:
    """Count volumes and voxels of a series as acquired; the first columns of ``image_qc``.

    ``raw_neighbor_corr`` is the mean correlation in the mask of each diffusion-weighted volume
    with its nearest neighbour in q-space (Yeh et al., NeuroImage 202, 2019).
    """
    measures: dict[str, float | int] = {}
    for axis, n, edge in zip("xyz", raw.dwi.shape[:3], raw.voxel_size_mm, strict=True):
        measures[f"raw_dimension_{axis}"] = int(n)
        measures[f"raw_voxel_size_{axis}"] = float(edge)
    shells = raw.shells
    measures["raw_max_b"] = float(shells.bvals[-1])
    measures["raw_num_directions"] = int((shells.index > 0).sum())
    for bval, count in zip(shells.bvals, shells.counts, strict=True):
        measures[f"num_volumes_b{bval:g}"] = int(count)
    measures["raw_neighbor_corr"] = _neighbour_correlation(raw)
    return measures


def noise_measures(
    raw: MeasuredSeries, sigma: Float[np.ndarray, "x y z"]
) -> dict[str, float | int]:
    """Measure the noise: its level and the signal of b=0 over it, medians over the mask.

    Parameters
    ----------
    raw
        As acquired.
    sigma
        Standard deviation of the noise, scanner units; 0 where it is not known.

    Returns
    -------
    dict[str, float | int]
        ``noise_sigma`` and ``snr_b0``; empty if the noise is known nowhere.
    """
    known = raw.mask & (sigma > 0)
    if not known.any():
        return {}
    noise = sigma[known]
    b0 = raw.dwi[known][:, raw.shells.volumes(0)].mean(axis=1)
    return {"noise_sigma": float(np.median(noise)), "snr_b0": float(np.median(b0 / noise))}


def preproc_measures(
    series: MeasuredSeries, noise_sigma: float | None = None
) -> dict[str, float | int]:
    """Measure a preprocessed series.

    ``cnr_b<shell>`` is the median over the mask of the standard deviation of the signal over the
    directions of a shell, over the noise before it was removed. ``tensor_residual`` is the median
    of the root mean square misfit of a tensor to b=0 and the lowest shell, over the b=0 signal.

    Parameters
    ----------
    series
        After all corrections.
    noise_sigma
        Level of the noise in scanner units; adds the CNR.

    Returns
    -------
    dict[str, float | int]
        Measures by name, in the order of the columns.
    """
    shells = series.shells
    measures: dict[str, float | int] = {
        "preproc_neighbor_corr": _neighbour_correlation(series),
        "mask_volume_ml": float(series.mask.sum() * np.prod(series.voxel_size_mm) / 1000),
        "tensor_residual": _tensor_residual(series),
    }
    if noise_sigma:
        inside = series.dwi[series.mask]
        for shell in range(1, shells.n_shell):
            contrast = inside[:, shells.volumes(shell)].std(axis=1) / noise_sigma
            measures[f"cnr_b{shells.bvals[shell]:g}"] = float(np.median(contrast))
    return measures


def motion_measures(
    transforms: VolumeTransforms,
    dropout: Bool[np.ndarray, "volume slice"],
    judged: Bool[np.ndarray, "volume slice"],
) -> dict[str, float | int]:
    """Measure how much the head moved and how many slices lost their signal.

    Parameters
    ----------
    transforms
        Of all volumes, relative to the first b=0.
    dropout
        Slices that were replaced.
    judged
        Slices that hold enough brain to tell.

    Returns
    -------
    dict[str, float | int]
        Measures by name.
    """
    displacement = framewise_displacement(transforms)[1:]
    angle = np.arccos(
        np.clip((np.trace(transforms.rotations(), axis1=1, axis2=2) - 1) / 2, -1.0, 1.0)
    )
    return {
        "mean_fd": float(displacement.mean()),
        "max_fd": float(displacement.max()),
        "max_translation": float(np.linalg.norm(transforms.translation_mm, axis=1).max()),
        "max_rotation": float(np.rad2deg(angle.max())),
        "raw_num_bad_slices": int(dropout.sum()),
        "bad_slices_percent": 100 * float(dropout.sum()) / max(int(judged.sum()), 1),
    }


def describe_measure(name: str) -> tuple[str, str]:
    """Say what a measure is and in what unit or of what, for people.

    Examples
    --------
    >>> describe_measure("raw_voxel_size_z")
    ('Voxel size along z', 'mm')
    """
    if name in _MEANINGS:
        return _MEANINGS[name]
    stem = max((stem for stem in _MEANINGS if name.startswith(stem)), key=len)
    meaning, unit = _MEANINGS[stem]
    return meaning.format(name.removeprefix(stem)), unit


def _neighbour_correlation(series: MeasuredSeries) -> float:
    weighted = series.shells.index > 0
    table = gradient_table(
        np.where(weighted, series.gradients.bvals, 0.0),
        bvecs=np.where(weighted[:, None], series.gradients.bvecs_ras, 0.0),
        b0_threshold=0,
    )
    in_mask = series.dwi[series.mask][:, None, None, :]  # DIPY would copy whole volumes
    return float(neighboring_dwi_correlation(in_mask, table))


def _tensor_residual(series: MeasuredSeries) -> float:
    used = np.flatnonzero(series.shells.index <= 1)  # b=0 and the lowest shell
    x, y, z = series.gradients.bvecs_ras[used].T
    b = series.shells.bvals[series.shells.index[used]] / 1000  # of order 1 beside the constant
    terms = [x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z]
    design = np.column_stack([np.ones(len(used)), *(-b * term for term in terms)])
    signal = series.dwi[series.mask][:, used]  # (voxel, volume)
    b0 = signal[:, series.shells.index[used] == 0].mean(axis=1)
    lit = b0 > 0
    signal = signal[lit] / b0[lit, None]
    logarithm = np.log(signal.clip(1e-3))
    fitted = np.exp(logarithm @ (design @ np.linalg.pinv(design)).T.astype(np.float32))
    return float(np.median(np.sqrt(((signal - fitted) ** 2).mean(axis=1))))
