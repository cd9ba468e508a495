"""The files of a scan, and what they hold."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float

from shd_bids.dwi.gradients import GradientTable, read_mrtrix_gradients
from shd_bids.dwi.shells import Shells, cluster_shells
from shd_bids.response.io import Response, read_response


@dataclass(frozen=True)
class ScanFiles:
    """A preprocessed scan: image, MRtrix3 gradient table, brain mask, one response a tissue."""

    dwi_file: Path
    gradients_file: Path
    mask_file: Path
    responses: dict[str, Path]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ScanFiles":
        """Take the paths from what a job file holds."""
        return cls(
            dwi_file=Path(values["dwi_file"]),
            gradients_file=Path(values["gradients_file"]),
            mask_file=Path(values["mask_file"]),
            responses={tissue: Path(file) for tissue, file in values["responses"].items()},
        )


@dataclass(frozen=True)
class ScanInputs:
    """A scan in memory."""

    dwi: Float[np.ndarray, "x y z volume"]
    mask: Bool[np.ndarray, "x y z"]
    gradients: GradientTable
    shells: Shells
    responses: dict[str, Response]
    affine: Float[np.ndarray, "4 4"]


def read_acquisition(
    files: ScanFiles, b0_threshold: float, shell_tolerance: float
) -> tuple[GradientTable, Shells]:
    """Read the gradient table of a scan and find its shells."""
    gradients = read_mrtrix_gradients(files.gradients_file)
    shells = cluster_shells(gradients.bvals, b0_threshold=b0_threshold, tolerance=shell_tolerance)
    return gradients, shells


def read_responses(files: ScanFiles, shells: Shells) -> dict[str, Response]:
    """Read the responses of a scan, matched to its shells."""
    return {
        tissue: read_response(file, tissue, shells.bvals)
        for tissue, file in files.responses.items()
    }


def load_scan(files: ScanFiles, b0_threshold: float, shell_tolerance: float) -> ScanInputs:
    """Load a scan."""
    image = cast(nib.Nifti1Image, nib.load(files.dwi_file))
    mask = cast(nib.Nifti1Image, nib.load(files.mask_file))
    gradients, shells = read_acquisition(files, b0_threshold, shell_tolerance)
    return ScanInputs(
        dwi=np.asarray(image.dataobj, dtype=np.float32),
        mask=np.asarray(mask.dataobj) > 0,
        gradients=gradients,
        shells=shells,
        responses=read_responses(files, shells),
        affine=image.affine,
    )
