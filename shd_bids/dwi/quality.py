"""Numbers that tell a good scan from a bad one, under QSIPrep's names where it has one."""

import numpy as np
from dipy.core.gradients import gradient_table
from dipy.stats.qc import neighboring_dwi_correlation
from jaxtyping import Bool, Float

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.shells import Shells

#: What each measure is and its unit; names end in an axis or a shell where this ends in a gap.
_MEANINGS = {
    "raw_dimension_": ("Matrix along {}", "voxels"),
    "raw_voxel_size_": ("Voxel size along {}", "mm"),
    "raw_max_b": ("Largest b-value", "s/mm²"),
    "raw_num_directions": ("Diffusion-weighted volumes", ""),
    "num_volumes_b": ("Volumes at b={} s/mm²", ""),
    "raw_neighbor_corr": ("Correlation of neighbouring volumes, raw", "below 0.4 is poor"),
    "preproc_neighbor_corr": ("Correlation of neighbouring volumes, denoised", ""),
    "mask_volume_ml": ("Volume of the brain mask", "ml"),
    "noise_sigma": ("Noise, standard deviation", "scanner units"),
    "snr_b0": ("Signal over noise at b=0", "median in the mask"),
    "cnr_b": ("Contrast over noise at b={} s/mm²", "median in the mask"),
}


def quality_measures(
    dwi: Float[np.ndarray, "x y z volume"],
    gradients: GradientTable,
    shells: Shells,
    mask: Bool[np.ndarray, "x y z"],
    *,
    voxel_size_mm: tuple[float, float, float],
    denoised: Float[np.ndarray, "x y z volume"] | None = None,
    sigma: Float[np.ndarray, "x y z"] | None = None,
) -> dict[str, float | int]:
    """Measure a diffusion series; one row of ``desc-image_qc.tsv``.

    ``raw_neighbor_corr`` is the mean correlation of each diffusion-weighted volume with its
    nearest neighbour in q-space (Yeh et al., NeuroImage 202, 2019), in the mask; below 0.4 is
    poor. ``snr_b0`` is the median over the mask of b=0 signal over noise. ``cnr_b<shell>`` is the
    median over the mask of the standard deviation of the denoised signal over the directions of a
    shell, over noise.

    Parameters
    ----------
    dwi
        As acquired, scanner units.
    gradients, shells
        Of its volumes.
    mask
        The brain.
    voxel_size_mm
        Edge lengths of a voxel.
    denoised
        The series after denoising; adds ``preproc_neighbor_corr`` and, with ``sigma``, the CNR.
    sigma
        Noise level in scanner units; adds the SNR.

    Returns
    -------
    dict[str, float | int]
        Measures by name, in the order of the columns.
    """
    measures: dict[str, float | int] = {}
    for axis, n, edge in zip("xyz", dwi.shape[:3], voxel_size_mm, strict=True):
        measures[f"raw_dimension_{axis}"] = int(n)
        measures[f"raw_voxel_size_{axis}"] = float(edge)
    measures["raw_max_b"] = float(shells.bvals[-1])
    measures["raw_num_directions"] = int((shells.index > 0).sum())
    for bval, count in zip(shells.bvals, shells.counts, strict=True):
        measures[f"num_volumes_b{bval:g}"] = int(count)
    measures["raw_neighbor_corr"] = _neighbour_correlation(dwi, gradients, shells, mask)
    if denoised is not None:
        correlation = _neighbour_correlation(denoised, gradients, shells, mask)
        measures["preproc_neighbor_corr"] = correlation
    measures["mask_volume_ml"] = float(mask.sum() * np.prod(voxel_size_mm) / 1000)
    if sigma is not None:
        measures |= _noise_measures(dwi, denoised, sigma, shells, mask)
    return measures


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


def _neighbour_correlation(
    dwi: Float[np.ndarray, "x y z volume"],
    gradients: GradientTable,
    shells: Shells,
    mask: Bool[np.ndarray, "x y z"],
) -> float:
    weighted = shells.index > 0
    table = gradient_table(
        np.where(weighted, gradients.bvals, 0.0),
        bvecs=np.where(weighted[:, None], gradients.bvecs_ras, 0.0),
        b0_threshold=0,
    )
    in_mask = dwi[mask][:, None, None, :]  # DIPY would copy whole volumes
    return float(neighboring_dwi_correlation(in_mask, table))


def _noise_measures(
    dwi: Float[np.ndarray, "x y z volume"],
    denoised: Float[np.ndarray, "x y z volume"] | None,
    sigma: Float[np.ndarray, "x y z"],
    shells: Shells,
    mask: Bool[np.ndarray, "x y z"],
) -> dict[str, float | int]:
    known = mask & (sigma > 0)
    if not known.any():
        return {}
    noise = sigma[known]
    b0 = dwi[known][:, shells.volumes(0)].mean(axis=1)
    measures: dict[str, float | int] = {
        "noise_sigma": float(np.median(noise)),
        "snr_b0": float(np.median(b0 / noise)),
    }
    if denoised is None:
        return measures
    signal = denoised[known]
    for shell in range(1, shells.n_shell):
        contrast = signal[:, shells.volumes(shell)].std(axis=1) / noise
        measures[f"cnr_b{shells.bvals[shell]:g}"] = float(np.median(contrast))
    return measures
