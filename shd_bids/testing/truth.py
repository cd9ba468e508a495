"""What the phantom is made of, voxel by voxel: in memory and as a BIDS derivative."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float

from shd_bids.errors import BidsDataError

from .geometry import (
    ASSOCIATION_INTRA_FRACTION,
    BUNDLES,
    FIELD_OF_VIEW_MM,
    TISSUES,
    Anatomy,
    Bundle,
    sample_anatomy,
)

TRUTH_STEM = "derivatives/truth/sub-01/dwi/sub-01"

_N_FIBRE = 4  # the most fibre populations that a voxel holds
_LEAST_SHARE = 0.03  # smaller populations join the others
_N_SUBSAMPLE = 2  # along each axis of a voxel


@dataclass(frozen=True)
class Truth:
    """The fibres and tissues of each voxel."""

    directions: Float[np.ndarray, "x y z fibre 3"]  # RAS unit vectors, zero where no fibre
    fractions: Float[np.ndarray, "x y z fibre"]  # of the voxel's volume, largest first
    tissue: Float[np.ndarray, "x y z 3"]  # WM, GM, CSF; sums to 1 in the brain, 0 outside

    @property
    def mask(self) -> Bool[np.ndarray, "x y z"]:
        """Voxels of the brain."""
        return self.tissue.sum(axis=-1) > 0.5


def sample_truth(
    shape: tuple[int, int, int],
    affine: Float[np.ndarray, "4 4"],
    *,
    bundles: Sequence[Bundle] = BUNDLES,
    rotation: Float[np.ndarray, "3 3"] | None = None,
    sample: Callable[[np.ndarray, Sequence[Bundle]], Anatomy] = sample_anatomy,
    field_of_view_mm: tuple[float, float, float] = FIELD_OF_VIEW_MM,
) -> tuple[Truth, Float[np.ndarray, "x y z fibre"]]:
    """Average the anatomy over each voxel, and keep the largest fibre populations.

    Parameters
    ----------
    bundles
        That cross the white matter.
    rotation
        Turns the brain in the scanner, world axes; none by default.
    sample
        Says what lies where, in mm about the brain's centre.
    field_of_view_mm
        That the brain fills.

    Returns
    -------
    truth
        The brain is centred on the grid and scaled to fit it.
    intra_fractions
        Intra-axonal share of each population's signal.
    """
    to_brain = np.eye(3) if rotation is None else rotation.T
    n_voxel = int(np.prod(shape))
    tissue = np.zeros((n_voxel, len(TISSUES)))
    vector = np.zeros((n_voxel, len(bundles) + 1, 3))
    volume = np.zeros((n_voxel, len(bundles) + 1))
    for points_mm in subvoxel_points(shape, affine, field_of_view_mm):
        anatomy = sample(points_mm @ to_brain.T, bundles)
        weight = anatomy.tissue[:, :1] * anatomy.share / _N_SUBSAMPLE**3
        tissue += anatomy.tissue / _N_SUBSAMPLE**3
        volume += weight
        vector += weight[..., None] * anatomy.direction

    brain = tissue.sum(axis=1, keepdims=True)
    tissue = np.where(brain > 0.5, tissue / np.maximum(brain, 0.5), 0.0)
    order = np.argsort(-volume, axis=1)[:, :_N_FIBRE]
    share = np.take_along_axis(volume, order, axis=1)
    share = np.where(share >= _LEAST_SHARE * volume.sum(axis=1, keepdims=True), share, 0.0)
    fractions = tissue[:, :1] * share / np.maximum(share.sum(axis=1, keepdims=True), 1e-9)
    directions = np.take_along_axis(vector, order[..., None], axis=1) @ to_brain
    directions /= np.maximum(np.linalg.norm(directions, axis=-1, keepdims=True), 1e-9)
    directions = np.where(fractions[..., None] > 0, directions, 0.0)
    intra = np.array([bundle.intra_fraction for bundle in bundles] + [ASSOCIATION_INTRA_FRACTION])
    truth = Truth(
        directions.reshape(*shape, -1, 3),
        fractions.reshape(*shape, -1),
        tissue.reshape(*shape, len(TISSUES)),
    )
    return truth, intra[order].reshape(*shape, -1)


def subvoxel_points(
    shape: tuple[int, int, int],
    affine: Float[np.ndarray, "4 4"],
    field_of_view_mm: tuple[float, float, float] = FIELD_OF_VIEW_MM,
) -> Iterator[Float[np.ndarray, "voxel 3"]]:
    """Give eight sets of one point in each voxel, in mm about the brain's centre."""
    extent_mm = np.linalg.norm(affine[:3, :3], axis=0) * shape
    voxel_mm = affine[:3, :3] / np.min(extent_mm / field_of_view_mm)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    centred_vox = grid - (np.array(shape) - 1) / 2
    steps = (np.arange(_N_SUBSAMPLE) + 0.5) / _N_SUBSAMPLE - 0.5
    for offset in np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3):
        yield (centred_vox + offset) @ voxel_mm.T


def peaks_file(bids_dir: Path) -> Path:
    """Where the true fibres lie: RAS vectors as long as their volume fraction (MRtrix3 peaks)."""
    return bids_dir / f"{TRUTH_STEM}_model-truth_param-peaks_dwimap.nii.gz"


def tissue_file(bids_dir: Path) -> Path:
    """Where the true volume fractions of white matter, grey matter and fluid lie."""
    return bids_dir / f"{TRUTH_STEM}_model-truth_param-tissue_dwimap.nii.gz"


def read_truth(bids_dir: Path) -> Truth:
    """Read the truth that lies beside a phantom dataset.

    Raises
    ------
    BidsDataError
        The dataset holds no truth.
    """
    for file in (peaks_file(bids_dir), tissue_file(bids_dir)):
        if not file.is_file():
            raise BidsDataError(
                f"{bids_dir} holds no {file.relative_to(bids_dir)}. Only a dataset written by "
                "`python -m shd_bids.testing.phantom` can be scored."
            )
    tissue = read_array(tissue_file(bids_dir))
    peaks = read_array(peaks_file(bids_dir))
    peaks = peaks.reshape(*peaks.shape[:3], -1, 3)
    fractions = np.linalg.norm(peaks, axis=-1)
    directions = peaks / np.maximum(fractions, 1e-9)[..., None]
    return Truth(directions, fractions, tissue)


def read_array(file: Path) -> np.ndarray:
    """Read the voxels of an image as float32."""
    return cast("nib.Nifti1Image", nib.load(file)).get_fdata(dtype=np.float32)
