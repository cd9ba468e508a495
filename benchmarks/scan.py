"""What every deconvolution is given: one scan, its mask and its responses."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.shells import Shells
from shd_bids.response.io import Response


@dataclass(frozen=True, eq=False)
class Scan:
    """One scan, ready to be deconvolved."""

    dwi: Float[np.ndarray, "x y z volume"]
    gradients: GradientTable
    shells: Shells
    mask: Bool[np.ndarray, "x y z"]
    responses: dict[str, Response]
    affine: Float[np.ndarray, "4 4"]

    @property
    def n_voxel(self) -> int:
        """Voxels to be fitted."""
        return int(self.mask.sum())
