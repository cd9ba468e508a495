"""What DIPY and MRtrix3 make of a series, where they have the step."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from dipy.align import motion_correction
from dipy.core.gradients import gradient_table
from jaxtyping import Float
from scipy.linalg import polar
from scipy.spatial.transform import Rotation

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.transforms import VolumeTransforms

from .child import run_measured
from .mrtrix import MrtrixError, read_on_grid
from .preprocessing_chain import Costs

PEERS = {"dipy": "", "mrtrix": "dwidenoise"}  # the program that it needs, if any


@dataclass(frozen=True, eq=False)
class Moved:
    """A series that was brought to its b=0, and where its head was."""

    dwi: Float[np.ndarray, "x y z volume"]
    transforms: VolumeTransforms


def installed_peers() -> list[str]:
    """Give the peers that can be run here."""
    return [name for name, program in PEERS.items() if not program or shutil.which(program)]


def correct_motion_dipy(
    dwi: Float[np.ndarray, "x y z volume"],
    affine: Float[np.ndarray, "4 4"],
    gradients: GradientTable,
    costs: Costs,
) -> Moved:
    """Register every volume to b=0 by mutual information and an affine, as DIPY does by default."""
    table = gradient_table(gradients.bvals, bvecs=gradients.bvecs_ras, b0_threshold=50)
    image, affines = costs.run("motion", lambda: motion_correction(dwi, table, affine=affine))
    shape: tuple[int, int, int] = dwi.shape[:3]
    series = image.get_fdata(dtype=np.float32).clip(0)
    return Moved(series, as_transforms(np.moveaxis(affines, 2, 0), affine, shape))


def as_transforms(
    affines: Float[np.ndarray, "volume 4 4"],
    affine: Float[np.ndarray, "4 4"],
    shape: tuple[int, int, int],
) -> VolumeTransforms:
    """Read head positions off affines that take the corrected head's points to those of a volume.

    The rotation is the nearest one, by which DIPY turns its gradients, too; stretch and shear stand
    for eddy currents and are dropped. The translation is that of the grid's centre.

    Parameters
    ----------
    affines
        From and to RAS mm.
    affine, shape
        Of the grid.
    """
    centre = affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
    turns = np.stack([polar(one[:3, :3])[0] for one in affines])
    return VolumeTransforms(
        affines[:, :3, :3] @ centre + affines[:, :3, 3] - centre,
        Rotation.from_matrix(turns).as_euler("xyz"),
        np.zeros((len(affines), 4)),
    )


def clean_mrtrix(
    dwi: Float[np.ndarray, "x y z volume"],
    affine: Float[np.ndarray, "4 4"],
    costs: Costs,
    *,
    n_threads: int,
) -> tuple[Float[np.ndarray, "x y z volume"], Float[np.ndarray, "x y z volume"]]:
    """Denoise by ``dwidenoise``, then remove ringing by ``mrdegibbs``; give both.

    Raises
    ------
    MrtrixError
        With the last words of the program that failed.
    """
    with tempfile.TemporaryDirectory(prefix="mrtrix-") as scratch:
        folder = Path(scratch)
        names = ("raw.nii", "denoised.nii", "unrung.nii")
        raw_file, denoised_file, unrung_file = (folder / name for name in names)
        nib.save(nib.Nifti1Image(dwi, affine), raw_file)
        for step, program, before, after in (
            ("denoise", "dwidenoise", raw_file, denoised_file),
            ("unring", "mrdegibbs", denoised_file, unrung_file),
        ):
            command = [program, str(before), str(after), "-nthreads", str(n_threads), "-quiet"]
            outcome = run_measured(command, folder / "log")
            if outcome.exit_code:
                raise MrtrixError(f"{program} failed: {outcome.last_words}")
            costs.note(step, outcome.seconds, outcome.peak_memory_mib)
        return read_on_grid(denoised_file, affine), read_on_grid(unrung_file, affine)
