"""Outputs of the participant level as a study has them, small enough to be trained on in a test."""

from pathlib import Path

import nibabel as nib
import numpy as np
from deconvolution.job_files import AFFINE, SHAPE
from deconvolution.scans import gradient_table, responses, signal_model, tiny_signal

from shd_bids.bids.files import write_json
from shd_bids.dwi.gradients import write_fsl_gradients
from shd_bids.response.io import Response, write_response

SINGLE, MULTI = (1000.0,), (1000.0, 2500.0)


def write_dataset(folder: Path, kind: str) -> Path:
    """Write the description of a dataset, raw or derivative."""
    description = {"Name": "study", "BIDSVersion": "1.10.0", "DatasetType": kind}
    if kind == "derivative":
        description["GeneratedBy"] = [{"Name": "shd-bids"}]
    write_json(folder / "dataset_description.json", description)
    return folder


def write_participant(
    out: Path,
    label: str,
    *,
    session: str | None = None,
    bvals: tuple[float, ...] = SINGLE,
    gain: float = 1.0,
    noise: float = 0.02,
) -> Path:
    """Write what the group level needs of one series, and give where its files begin."""
    names = [f"sub-{label}", *([f"ses-{session}"] if session else [])]
    stem = out.joinpath(*names, "dwi", "_".join([*names, "space-orig"]))
    stem.parent.mkdir(parents=True, exist_ok=True)
    mask = np.ones(SHAPE, dtype=np.uint8)
    mask[0] = 0
    dwi = gain * tiny_signal(signal_model(bvals=bvals), SHAPE, noise)
    nib.save(nib.Nifti1Image(dwi, AFFINE), f"{stem}_desc-preproc_dwi.nii.gz")
    nib.save(nib.Nifti1Image(mask, AFFINE), f"{stem}_desc-brain_mask.nii.gz")
    files = (Path(f"{stem}_desc-preproc_dwi.{kind}") for kind in ("bval", "bvec"))
    write_fsl_gradients(gradient_table(bvals), AFFINE, *files)
    for tissue, found in responses(bvals=bvals).items():
        scaled = Response(tissue, found.bvals, gain * found.coefficients)
        write_response(scaled, Path(f"{stem}_param-response_label-{tissue}_dwimap.txt"))
    return stem
