"""FSL programs, used where they are installed and asked for."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Float

from shd_bids.dwi.transforms import PhaseEncoding
from shd_bids.errors import ConfigError, ShdBidsError

from .nifti import read_array
from .process import run_tool

_N_LINE = 5


@dataclass(frozen=True, eq=False)
class TopupResult:
    """What topup found, in the order of voxels that it was given.

    ``corrected`` holds the images without distortion and movement; ``motion`` the translation in
    mm and the rotation in rad of each, by FSL's convention.
    """

    fieldmap_hz: Float[np.ndarray, "x y z"]
    corrected: Float[np.ndarray, "image x y z"]
    motion: Float[np.ndarray, "image 6"]


def run_topup(
    images: Float[np.ndarray, "image x y z"],
    affine: Float[np.ndarray, "4 4"],
    phase_encodings: Sequence[PhaseEncoding],
    work_dir: Path,
) -> TopupResult:
    """Estimate the field with FSL's topup.

    FSL counts the first axis from the right of the head whatever the affine, so images whose axes
    are right-handed are mirrored on the way in and back.

    Parameters
    ----------
    images
        Mean b=0 image of each phase encoding.
    affine
        Of their grid.
    phase_encodings
        With readout times, s.
    work_dir
        Where its files go.

    Returns
    -------
    TopupResult
        On the grid of the images.

    Raises
    ------
    ConfigError
        If topup is not on PATH.
    """
    if shutil.which("topup") is None:
        raise ConfigError(
            "--sdc topup needs FSL's program topup, which is not on PATH. Install FSL, or use "
            "--sdc reverse-phase."
        )
    turn = -1 if np.linalg.det(affine[:3, :3]) > 0 else 1
    series = np.moveaxis(images[:, ::turn], 0, -1)
    mirrored = affine @ np.diag([turn, 1, 1, 1])
    if turn < 0:
        mirrored[:3, 3] = affine[:3, 3] + (images.shape[1] - 1) * affine[:3, 0]
    nib.Nifti1Image(series.astype(np.float32), mirrored).to_filename(work_dir / "b0s.nii.gz")
    rows = np.zeros((len(phase_encodings), 4))
    for row, encoding in zip(rows, phase_encodings, strict=True):
        row[encoding.axis] = encoding.sign * (turn if encoding.axis == 0 else 1)
        row[3] = encoding.readout_s
    np.savetxt(work_dir / "encodings.txt", rows, fmt="%d %d %d %.8f")
    odd = any(length % 2 for length in images.shape[1:])
    # All names are relative to the folder that it runs in: FSL takes some apart at special signs.
    command = ["topup", "--imain=b0s.nii.gz", "--datain=encodings.txt", "--out=topup"]
    command += [f"--config=b02b0{'_1' if odd else ''}.cnf"]
    command += ["--fout=field.nii.gz", "--iout=corrected.nii.gz"]
    done = run_tool(command, work_dir, {"FSLOUTPUTTYPE": "NIFTI_GZ"})
    if done.returncode != 0:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-_N_LINE:])
        raise ShdBidsError(
            f"FSL's topup failed ({done.returncode}):\n{said}\nUse --sdc reverse-phase to do "
            "without FSL."
        )
    field, corrected = (
        read_array(str(work_dir / f"{name}.nii.gz"))[::turn] for name in ("field", "corrected")
    )
    motion = np.loadtxt(work_dir / "topup_movpar.txt", ndmin=2)
    return TopupResult(field, np.moveaxis(corrected, -1, 0).clip(0), motion)
