"""MRtrix3's ``dwi2fod`` on arrays: files in a scratch folder, the same responses, our conventions.

Its fODFs come in the same basis, scale and world axes as ours. It may turn the voxel grid to its
own liking, so the result is turned back onto the grid of the data.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from jaxtyping import Float

from shd_bids.deconvolution.solution import FodfSolution
from shd_bids.dwi.gradients import write_mrtrix_gradients
from shd_bids.errors import ShdBidsError
from shd_bids.response.io import write_response

from .scan import Scan


class MrtrixError(ShdBidsError):
    """``dwi2fod`` is absent or failed."""


def mrtrix_is_installed() -> bool:
    """Whether ``dwi2fod`` can be called."""
    return shutil.which("dwi2fod") is not None


def fit_mrtrix(
    scan: Scan, algorithm: str, *, n_threads: int = 1, work_dir: Path | None = None
) -> FodfSolution:
    """Deconvolve with MRtrix3.

    Parameters
    ----------
    scan
        Data and responses.
    algorithm
        ``csd``: highest shell, white matter; ``msmt_csd``: all shells, all tissues of the scan.
    n_threads
        Of ``dwi2fod``.
    work_dir
        Where the scratch folder is made.

    Returns
    -------
    FodfSolution
        Without residual: MRtrix3 reports none.

    Raises
    ------
    MrtrixError
        With the last words of ``dwi2fod``.
    """
    if not mrtrix_is_installed():
        raise MrtrixError("dwi2fod is not on PATH. Install MRtrix3, or leave its models out.")
    with tempfile.TemporaryDirectory(dir=work_dir, prefix="mrtrix-") as scratch:
        folder = Path(scratch)
        write_inputs(scan, folder)
        command = dwi2fod_command(scan, algorithm, folder, n_threads=n_threads)
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise MrtrixError(f"dwi2fod {algorithm} failed: {answer.stderr.strip()[-500:]}")
        images = {
            tissue: read_on_grid(file, scan.affine)
            for tissue, file in output_files(scan, algorithm, folder).items()
        }
    fodf_sh = np.nan_to_num(images.pop("WM")) * scan.mask[..., None]
    tissue = {name: np.nan_to_num(image[..., 0]) * scan.mask for name, image in images.items()}
    absent = np.full(scan.mask.shape, np.nan, dtype=np.float32)
    return FodfSolution(f"mrtrix{algorithm.replace('_', '')}", fodf_sh, absent, tissue)


def write_inputs(scan: Scan, folder: Path) -> None:
    """Write data, mask, gradients and responses where :func:`dwi2fod_command` expects them."""
    nib.save(nib.Nifti1Image(scan.dwi.astype(np.float32), scan.affine), folder / "dwi.nii")
    nib.save(nib.Nifti1Image(scan.mask.astype(np.uint8), scan.affine), folder / "mask.nii")
    write_mrtrix_gradients(scan.gradients, folder / "gradients.b")
    for tissue, response in scan.responses.items():
        write_response(response, folder / f"{tissue}.txt")
    np.savetxt(folder / "WM-top.txt", scan.responses["WM"].coefficients[-1:])


def dwi2fod_command(scan: Scan, algorithm: str, folder: Path, *, n_threads: int) -> list[str]:
    """Give the command line for inputs that lie in a folder."""
    files = output_files(scan, algorithm, folder)
    responses = {t: folder / ("WM-top.txt" if algorithm == "csd" else f"{t}.txt") for t in files}
    shells = ",".join(f"{bval:g}" for bval in scan.shells.bvals)
    chosen = f"{scan.shells.bvals[-1]:g}" if algorithm == "csd" else shells
    pairs = [str(part) for tissue in files for part in (responses[tissue], files[tissue])]
    options = {
        "-mask": folder / "mask.nii",
        "-grad": folder / "gradients.b",
        "-shells": chosen,
        "-nthreads": n_threads,
    }
    return [
        "dwi2fod",
        algorithm,
        str(folder / "dwi.nii"),
        *pairs,
        *(str(part) for pair in options.items() for part in pair),
        "-quiet",
        "-force",
    ]


def output_files(scan: Scan, algorithm: str, folder: Path) -> dict[str, Path]:
    """Name the image of each tissue that ``dwi2fod`` writes."""
    tissues = ["WM"] if algorithm == "csd" else list(scan.responses)
    return {tissue: folder / f"fod-{tissue}.nii" for tissue in tissues}


def read_on_grid(file: Path, affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "x y z coef"]:
    """Read an image and flip and permute its voxel axes to those of ``affine``."""
    image = cast("nib.Nifti1Image", nib.load(file))
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.io_orientation(affine)
    )
    image = image.as_reoriented(turn)
    if not np.allclose(image.affine, affine, atol=1e-3):
        raise MrtrixError(f"{file.name} lies on another grid than the data.")
    return image.get_fdata(dtype=np.float32)
