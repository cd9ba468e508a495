"""What every deconvolution is given: one scan, its mask and its responses."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float

from shd_bids.bids.dataset import open_layout, select_participants
from shd_bids.bids.series import collect_series
from shd_bids.dwi.gradients import (
    GradientTable,
    check_volume_count,
    concatenate_gradients,
    read_fsl_gradients,
)
from shd_bids.dwi.images import load_dwi, open_image, read_data
from shd_bids.dwi.mask import check_mask, estimate_brain_mask
from shd_bids.dwi.shells import Shells, cluster_shells
from shd_bids.errors import BidsDataError
from shd_bids.response.estimate import estimate_responses
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


def load_scan(paths: Sequence[Path]) -> Scan:
    """Load a scan; estimate its responses, and its mask if none is given.

    Parameters
    ----------
    paths
        A BIDS dataset, of which the first series of the first participant is taken, or an image,
        its bval and its bvec file, and perhaps a mask.

    Raises
    ------
    BidsDataError
        If it is neither.
    """
    if len(paths) == 1 and paths[0].is_dir():
        runs, mask_file = _first_series(paths[0]), None
    elif len(paths) in (3, 4):
        runs, mask_file = [tuple(paths[:3])], paths[3] if len(paths) == 4 else None
    else:
        raise BidsDataError(
            f"Got {len(paths)} paths; expected the folder of a BIDS dataset, or an image with its "
            "bval and bvec files and, if there is one, its mask."
        )
    images = [load_dwi(dwi_file) for dwi_file, _, _ in runs]
    tables = []
    for image, (dwi_file, bval_file, bvec_file) in zip(images, runs, strict=True):
        tables.append(read_fsl_gradients(bval_file, bvec_file, image.affine))
        check_volume_count(tables[-1], image.shape[3], dwi_file.name)
    gradients = concatenate_gradients(tables)
    dwi = np.concatenate([image.get_fdata(dtype=np.float32) for image in images], axis=3)
    shells = cluster_shells(gradients.bvals)
    if mask_file is None:
        x, y, z = (float(edge) for edge in nib.affines.voxel_sizes(images[0].affine))
        mask = estimate_brain_mask(dwi, shells, (x, y, z))
    else:
        mask = read_data(open_image(mask_file), mask_file) > 0
        check_mask(mask, dwi.shape[:3], source=mask_file.name)
    responses = estimate_responses(dwi, gradients, shells, mask).responses
    return Scan(dwi, gradients, shells, mask, responses, images[0].affine)


def _first_series(bids_dir: Path) -> list[tuple[Path, ...]]:
    participant = select_participants(bids_dir, [])[0]
    layout = open_layout(bids_dir, participant_labels=[participant])
    series = collect_series(layout, participant)[0]
    return [(run.dwi_file, run.bval_file, run.bvec_file) for run in series.runs]
