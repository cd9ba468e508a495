"""A tiny job, written to a folder."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from deconvolution.scans import gradient_table, responses, signal_model, tiny_signal

from shd_bids.dwi.gradients import write_mrtrix_gradients
from shd_bids.response.io import write_response

SHAPE = (6, 6, 6)
AFFINE = np.diag([-2.0, 2.0, 2.0, 1.0])


def write_scan(
    folder: Path, bvals: tuple[float, ...] = (1000.0,), noise: float = 0.02
) -> dict[str, Any]:
    """Write a scan with everything that a job needs of it, and give its part of a job."""
    folder.mkdir(exist_ok=True)
    mask = np.ones(SHAPE, dtype=np.uint8)
    mask[0] = 0
    images = {"dwi": tiny_signal(signal_model(bvals=bvals), SHAPE, noise), "mask": mask}
    for name, data in images.items():
        nib.save(nib.Nifti1Image(data, AFFINE), folder / f"{name}.nii.gz")
    write_mrtrix_gradients(gradient_table(bvals), folder / "dwi.b")
    for tissue, response in responses(bvals=bvals).items():
        write_response(response, folder / f"{tissue}.txt")
    return {
        "dwi_file": str(folder / "dwi.nii.gz"),
        "gradients_file": str(folder / "dwi.b"),
        "mask_file": str(folder / "mask.nii.gz"),
        "responses": {tissue: str(folder / f"{tissue}.txt") for tissue in ("WM", "CSF")},
    }


def write_job(folder: Path, **changes: Any) -> Path:
    """Write a scan and a job for it."""
    job = {
        **write_scan(folder),
        "model": "shd-tv",
        "preset": "fast",
        "n_step": 3,
        "lmax": 2,
        "device": "cpu",
        "precision": "float32",
        "checkpoint_dir": str(folder / "checkpoint"),
        "out_dir": str(folder / "out"),
    }
    job_file = folder / "job.json"
    job_file.write_text(json.dumps(job | changes))
    return job_file
