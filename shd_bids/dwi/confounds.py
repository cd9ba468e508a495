"""One row per volume: what was measured, how the head lay, and how it differs from its shell."""

import numpy as np
from jaxtyping import Bool, Float

from .displacement import framewise_displacement
from .gradients import GradientTable
from .shells import Shells
from .transforms import VolumeTransforms

# What each column is, and its unit.
DESCRIPTIONS = {
    "bval": ("b-value", "s/mm^2"),
    "shell": ("b-value of the shell that the volume belongs to", "s/mm^2"),
    "grad_x": ("x component of the gradient as the head saw it, scanner RAS+ axes", "1"),
    "grad_y": ("y component of the gradient as the head saw it, scanner RAS+ axes", "1"),
    "grad_z": ("z component of the gradient as the head saw it, scanner RAS+ axes", "1"),
    "mean_signal": ("mean of the preprocessed signal in the brain mask", "scanner units"),
    "shell_ratio": ("mean signal over the median of its shell's; far from 1 is doubtful", "1"),
    "trans_x": ("movement of the head from the first b=0 volume, to the right", "mm"),
    "trans_y": ("movement of the head from the first b=0 volume, forwards", "mm"),
    "trans_z": ("movement of the head from the first b=0 volume, upwards", "mm"),
    "rot_x": ("turn of the head about the left-right axis", "rad"),
    "rot_y": ("turn of the head about the front-back axis", "rad"),
    "rot_z": ("turn of the head about the vertical axis", "rad"),
    "framewise_displacement": (
        "movement from the volume before: sum of translations and of rotations on a sphere of "
        "50 mm (Power et al., NeuroImage 59, 2012)",
        "mm",
    ),
    "eddy_x": ("eddy-current displacement along the phase axis, along the image's x axis", "mm/mm"),
    "eddy_y": ("eddy-current displacement along the phase axis, along the image's y axis", "mm/mm"),
    "eddy_z": ("eddy-current displacement along the phase axis, along the image's z axis", "mm/mm"),
    "eddy_offset": (
        "eddy-current displacement along the phase axis in the centre of the image",
        "mm",
    ),
    "num_bad_slices": (
        "slices with signal dropout, which were replaced by their prediction",
        "1",
    ),
}


def volume_confounds(
    dwi: Float[np.ndarray, "x y z volume"],
    gradients: GradientTable,
    shells: Shells,
    mask: Bool[np.ndarray, "x y z"],
    *,
    transforms: VolumeTransforms | None = None,
    dropout: Bool[np.ndarray, "volume slice"] | None = None,
) -> dict[str, Float[np.ndarray, " volume"]]:
    """Measure every volume.

    Parameters
    ----------
    dwi
        Preprocessed, scanner units.
    gradients, shells
        Of its volumes, directions as the head saw them.
    mask
        The brain.
    transforms
        Head motion and eddy currents that were corrected; none by default.
    dropout
        Slices that were replaced.

    Returns
    -------
    dict
        A column per measure, as described in `DESCRIPTIONS`; each of shape (volume,).
    """
    mean = np.array(
        [dwi[..., volume][mask].mean(dtype=np.float64) for volume in range(len(shells.index))]
    )
    typical = np.array([np.median(mean[shells.volumes(shell)]) for shell in range(shells.n_shell)])
    columns = {
        "bval": gradients.bvals,
        "shell": shells.bvals[shells.index],
        "mean_signal": mean,
        "shell_ratio": mean / typical[shells.index],
    }
    columns |= _named("grad", gradients.bvecs_ras)
    if transforms is not None:
        columns |= _named("trans", transforms.translation_mm)
        columns |= _named("rot", transforms.rotation_rad)
        columns["framewise_displacement"] = framewise_displacement(transforms)
        columns |= _named("eddy", transforms.eddy) | {"eddy_offset": transforms.eddy[:, 3]}
    if dropout is not None:
        columns["num_bad_slices"] = dropout.sum(axis=1).astype(np.float64)
    return {name: columns[name] for name in DESCRIPTIONS if name in columns}


def _named(stem: str, vectors: Float[np.ndarray, "volume _"]) -> dict[str, np.ndarray]:
    return {f"{stem}_{axis}": vectors[:, i] for i, axis in enumerate("xyz")}
