"""One row per volume: what was measured, and how it differs from its shell."""

import numpy as np
from jaxtyping import Bool, Float

from .gradients import GradientTable
from .shells import Shells

DESCRIPTIONS = {
    "bval": "b-value, s/mm²",
    "shell": "b-value of the shell that the volume belongs to, s/mm²",
    "grad_x": "x component of the gradient direction, scanner RAS+ axes",
    "grad_y": "y component of the gradient direction, scanner RAS+ axes",
    "grad_z": "z component of the gradient direction, scanner RAS+ axes",
    "mean_signal": "mean of the preprocessed signal in the brain mask, scanner units",
    "shell_ratio": "mean signal over the median of its shell's; far from 1 is a doubtful volume",
    "residual_std": "standard deviation in the mask of what preprocessing removed, scanner units",
}


def volume_confounds(
    raw: Float[np.ndarray, "x y z volume"],
    preprocessed: Float[np.ndarray, "x y z volume"],
    gradients: GradientTable,
    shells: Shells,
    mask: Bool[np.ndarray, "x y z"],
) -> dict[str, Float[np.ndarray, " volume"]]:
    """Measure every volume.

    Parameters
    ----------
    raw, preprocessed
        Before and after preprocessing, scanner units.
    gradients, shells
        Of the volumes.
    mask
        The brain.

    Returns
    -------
    dict
        A column per measure, as described in `DESCRIPTIONS`; each of shape (volume,).
    """
    inside = preprocessed[mask]  # (voxel, volume)
    mean = inside.mean(axis=0, dtype=np.float64)
    typical = np.array([np.median(mean[shells.volumes(shell)]) for shell in range(shells.n_shell)])
    return {
        "bval": gradients.bvals,
        "shell": shells.bvals[shells.index],
        "grad_x": gradients.bvecs_ras[:, 0],
        "grad_y": gradients.bvecs_ras[:, 1],
        "grad_z": gradients.bvecs_ras[:, 2],
        "mean_signal": mean,
        "shell_ratio": mean / typical[shells.index],
        "residual_std": (raw[mask] - inside).std(axis=0, dtype=np.float64),
    }
