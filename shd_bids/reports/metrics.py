"""Small numbers that the report says beside its pictures."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

Volume = Float[np.ndarray, "x y z"]
Mask = Bool[np.ndarray, "x y z"]


def residual_metrics(rmse: Mapping[str, Volume], mask: Mask) -> dict[str, dict[str, float]]:
    """Summarise the residual of each model.

    Parameters
    ----------
    rmse
        By model: root mean squared residual over b=0 of the white matter response.
    mask
        Of the brain.

    Returns
    -------
    dict[str, dict[str, float]]
        By model: ``median_percent`` and ``p95_percent``.
    """
    return {
        model: {
            "median_percent": 100 * _percentile(volume[mask], 50),
            "p95_percent": 100 * _percentile(volume[mask], 95),
        }
        for model, volume in rmse.items()
    }


def noise_metrics(before: Volume, after: Volume, mask: Mask) -> dict[str, float]:
    """Say how much denoising took from a volume.

    Parameters
    ----------
    before, after
        The same volume.
    mask
        Of the brain.

    Returns
    -------
    dict[str, float]
        ``removed_sd`` in scanner units; ``removed_percent`` of the median signal; ``bias_percent``,
        the mean of what was removed over the median signal, which should be near zero.
    """
    removed = (before - after)[mask]
    signal = max(_percentile(before[mask], 50), np.finfo(float).tiny)
    spread = float(np.std(removed)) if removed.size else 0.0
    shift = float(np.mean(removed)) if removed.size else 0.0
    return {
        "removed_sd": spread,
        "removed_percent": 100 * spread / signal,
        "bias_percent": 100 * shift / signal,
    }


def fraction_metrics(fractions: Mapping[str, Volume], mask: Mask) -> dict[str, float]:
    """Average the volume fraction of each tissue over the brain.

    Parameters
    ----------
    fractions
        By tissue label.
    mask
        Of the brain.

    Returns
    -------
    dict[str, float]
        Mean by tissue label.
    """
    return {
        tissue: float(volume[mask].mean()) if mask.any() else 0.0
        for tissue, volume in fractions.items()
    }


def mask_volume_ml(mask: Mask, affine: Float[np.ndarray, "4 4"]) -> float:
    """Volume of a mask in millilitres.

    Examples
    --------
    >>> mask_volume_ml(np.ones((10, 10, 10), dtype=bool), np.diag([2.0, 2.0, 2.0, 1.0]))
    8.0
    """
    voxel_mm3 = abs(float(np.linalg.det(affine[:3, :3])))
    return round(float(mask.sum()) * voxel_mm3 / 1000.0, 6)


def tract_metrics(lengths: Float[np.ndarray, " streamline"]) -> dict[str, float | int]:
    """Count streamlines and sum up how long they are.

    Parameters
    ----------
    lengths
        Of each streamline, in mm.

    Returns
    -------
    dict[str, float | int]
        ``count``, ``median_length_mm``, ``p95_length_mm``.
    """
    return {
        "count": lengths.size,
        "median_length_mm": _percentile(lengths, 50),
        "p95_length_mm": _percentile(lengths, 95),
    }


def _percentile(values: Float[np.ndarray, " value"], percent: int) -> float:
    return float(np.percentile(values, percent)) if values.size else 0.0
