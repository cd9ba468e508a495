"""The bias field of a structural image, by N4."""

from typing import cast

import numpy as np
import SimpleITK as sitk
from jaxtyping import Float

from .volume import Volume, from_itk, to_itk

_KNOTS_MM = 40.0  # the closest that the knots of the spline come: finer ones fit the anatomy
_EDGE_MM = 4.0  # the field is smooth: voxels of this size are enough to find it


def correct_bias(volume: Volume) -> tuple[Volume, Float[np.ndarray, "x y z"]]:
    """Divide an image by its bias field.

    Tustison's N4 on the head, found by Otsu's threshold, at about 4 mm.

    Parameters
    ----------
    volume
        Magnitude image of a head.

    Returns
    -------
    tuple
        Corrected image and the field, whose mean logarithm over the head is 0.
    """
    image = to_itk(Volume(volume.data.astype(np.float32), volume.affine))
    factors = [max(1, round(_EDGE_MM / edge)) for edge in volume.grid.voxel_mm]
    small = sitk.Shrink(image, factors)
    head = sitk.OtsuThreshold(small, 0, 1, 200)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    size_mm = max(np.array(volume.data.shape) * volume.grid.voxel_mm)
    n_level = 1 + int(np.clip(np.log2(size_mm / _KNOTS_MM), 0, 2))  # each halves the distance
    n4.SetMaximumNumberOfIterations([40] * n_level)
    n4.SetConvergenceThreshold(1e-4)
    n4.Execute(small, head)
    inside = sitk.GetArrayViewFromImage(head) > 0
    log_small = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(small))
    log_field = cast(np.ndarray, from_itk(n4.GetLogBiasFieldAsImage(image)).data)
    field = np.exp(log_field - log_small[inside].mean()).astype(np.float32)
    return Volume(volume.data / field, volume.affine), field
