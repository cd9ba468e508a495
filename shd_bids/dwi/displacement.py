"""Framewise displacement: one number for how far the head moved between volumes."""

import numpy as np
from jaxtyping import Float

from .transforms import VolumeTransforms

_HEAD_RADIUS_MM = 50.0


def framewise_displacement(transforms: VolumeTransforms) -> Float[np.ndarray, " volume"]:
    """Add up the changes of the six rigid parameters from the volume before (Power et al., 2012).

    Rotations count as arcs on a sphere of 50 mm; the first volume has none and is NaN, as in
    fMRIPrep and QSIPrep.

    Parameters
    ----------
    transforms
        Of the volumes in the order of acquisition.

    Returns
    -------
    Float[np.ndarray, " volume"]
        mm.

    Examples
    --------
    >>> still = VolumeTransforms.identity(2)
    >>> framewise_displacement(still)
    array([nan,  0.])
    """
    arcs_mm = _HEAD_RADIUS_MM * transforms.rotation_rad
    parameters = np.concatenate([transforms.translation_mm, arcs_mm], axis=1)
    moved = np.abs(np.diff(parameters, axis=0)).sum(axis=1)
    return np.concatenate([[np.nan], moved])
