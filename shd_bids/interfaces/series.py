"""What every node that needs the shells takes in: the series, its gradients, their grouping."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from nipype.interfaces.base import BaseInterfaceInputSpec, File, traits

from shd_bids.dwi.gradients import GradientTable, read_mrtrix_gradients
from shd_bids.dwi.shells import Shells, cluster_shells

from .nifti import read_array


class SeriesInputSpec(BaseInterfaceInputSpec):
    """Inputs of a node that works on a diffusion series with its shells."""

    dwi_file = File(exists=True, mandatory=True, desc="4-D image")
    gradients_file = File(exists=True, mandatory=True, desc="MRtrix3 table, scanner RAS+ axes")
    b0_threshold = traits.Float(mandatory=True, desc="largest b-value that counts as b=0, s/mm²")
    shell_tolerance = traits.Float(mandatory=True, desc="b-values this close are one shell, s/mm²")


def load_gradients(inputs: Any) -> tuple[GradientTable, Shells]:
    """Load the gradient table and group it into shells.

    Parameters
    ----------
    inputs
        Inputs of a node, as in `SeriesInputSpec`.

    Returns
    -------
    tuple
        Gradient table and shells.
    """
    gradients = read_mrtrix_gradients(Path(inputs.gradients_file))
    shells = cluster_shells(
        gradients.bvals, b0_threshold=inputs.b0_threshold, tolerance=inputs.shell_tolerance
    )
    return gradients, shells


def load_series(inputs: Any) -> tuple[Float[np.ndarray, "x y z volume"], GradientTable, Shells]:
    """Load the images, the gradient table and the shells of a series."""
    return read_array(inputs.dwi_file), *load_gradients(inputs)
