"""A fit as a job described by a file, to run in a process of its own.

``python -m shd_bids.deconvolution JOB.json``
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float

from shd_bids.dwi.gradients import GradientTable, read_mrtrix_gradients
from shd_bids.dwi.shells import Shells, cluster_shells
from shd_bids.response.io import Response, read_response

from .checkpoint import save_weights
from .classical import fit_csd, fit_msmt_csd
from .fit import SHD_LABELS, fit_shd
from .history import History
from .losses import LossWeights
from .presets import get_preset
from .rumba import fit_rumba
from .solution import TISSUES, FodfSolution

LOGGER = logging.getLogger(__name__)

_CLASSICAL: dict[str, Callable[..., FodfSolution]] = {
    "csd": fit_csd,
    "msmt-csd": fit_msmt_csd,
    "rumba": fit_rumba,
    "rumba-tv": partial(fit_rumba, total_variation=True),
}


@dataclass(frozen=True)
class Job:
    """What to fit and how; the keys of the job file."""

    dwi_file: Path
    gradients_file: Path
    mask_file: Path
    responses: dict[str, Path]
    model: str
    out_dir: Path
    checkpoint_dir: Path | None = None
    preset: str = "fast"
    n_step: int | None = None
    tv_weight: float | None = None
    lmax: int = 8
    b0_threshold: float = 100.0
    shell_tolerance: float = 80.0
    device: str = "auto"
    precision: str = "auto"
    random_seed: int = 0
    n_threads: int = 1
    weights_file: Path | None = None

    @classmethod
    def from_file(cls, file: Path) -> "Job":
        """Read a job file."""
        values: dict[str, Any] = json.loads(file.read_text())
        for name in ("dwi_file", "gradients_file", "mask_file", "out_dir"):
            values[name] = Path(values[name])
        for name in ("checkpoint_dir", "weights_file"):
            values[name] = Path(values[name]) if values.get(name) else None
        values["responses"] = {key: Path(path) for key, path in values["responses"].items()}
        return cls(**values)


@dataclass(frozen=True)
class _Inputs:
    dwi: Float[np.ndarray, "x y z volume"]
    mask: Bool[np.ndarray, "x y z"]
    gradients: GradientTable
    shells: Shells
    responses: dict[str, Response]
    affine: Float[np.ndarray, "4 4"]


def _load(job: Job) -> _Inputs:
    image = cast(nib.Nifti1Image, nib.load(job.dwi_file))
    mask = cast(nib.Nifti1Image, nib.load(job.mask_file))
    gradients = read_mrtrix_gradients(job.gradients_file)
    shells = cluster_shells(
        gradients.bvals, b0_threshold=job.b0_threshold, tolerance=job.shell_tolerance
    )
    return _Inputs(
        dwi=np.asarray(image.dataobj, dtype=np.float32),
        mask=np.asarray(mask.dataobj) > 0,
        gradients=gradients,
        shells=shells,
        responses={
            tissue: read_response(file, tissue, shells.bvals)
            for tissue, file in job.responses.items()
        },
        affine=image.affine,
    )


def run_job(job: Job) -> None:
    """Fit, and write the solution, the weights, the course of the training and a summary."""
    start = time.monotonic()
    job.out_dir.mkdir(parents=True, exist_ok=True)
    inputs = _load(job)
    summary: dict[str, Any] = {"model": job.model, "lmax": job.lmax}
    if job.model in SHD_LABELS:
        solution, details = _fit_shd(job, inputs)
        summary |= details
    else:
        fit = _CLASSICAL[job.model]
        solution = fit(
            inputs.dwi,
            inputs.gradients,
            inputs.shells,
            inputs.mask,
            inputs.responses,
            lmax=job.lmax,
            n_threads=job.n_threads,
        )
        summary |= {"tissues": ["WM", *solution.tissue], "device": "cpu"}
    summary["seconds"] = time.monotonic() - start
    _save(solution, inputs, job.out_dir)
    _write_json(summary, job.out_dir / "summary.json")
    LOGGER.info("Fitted %s in %.0f s.", job.model, summary["seconds"])


def _fit_shd(job: Job, inputs: _Inputs) -> tuple[FodfSolution, dict[str, Any]]:
    preset = get_preset(job.preset)
    if job.n_step is not None:
        preset = replace(preset, steps=job.n_step)
    fit = fit_shd(
        inputs.dwi,
        inputs.gradients,
        inputs.shells,
        inputs.mask,
        inputs.responses,
        affine=inputs.affine,
        model=job.model,
        preset=preset,
        lmax=job.lmax,
        tv_weight=job.tv_weight,
        device=job.device,
        precision=job.precision,
        random_seed=job.random_seed,
        n_threads=job.n_threads,
        weights_file=job.weights_file,
        checkpoint_file=job.checkpoint_dir and job.checkpoint_dir / "training.safetensors",
    )
    if job.weights_file is None:
        _write_json(_describe_history(fit.history, fit.weights), job.out_dir / "history.json")
    save_weights(fit.network, job.out_dir / "weights.safetensors")
    return fit.solution, fit.details | {"preset": job.preset}


def _describe_history(history: History, weights: LossWeights) -> dict[str, Any]:
    rate = history.n_voxel / history.seconds[-1] if history.seconds else 0.0
    return {
        "step": history.step,
        "seconds": history.seconds,
        "loss": history.loss,
        "weights": asdict(weights),
        "voxels_per_s": rate,
    }


def _save(solution: FodfSolution, inputs: _Inputs, out_dir: Path) -> None:
    fractions = solution.fractions
    absent = np.zeros_like(solution.rmse)
    images = {
        "fod_WM": solution.fodf_sh,
        **{f"fod_{tissue}": image for tissue, image in solution.tissue.items()},
        "fractions": np.stack([fractions.get(tissue, absent) for tissue in TISSUES], axis=-1),
        "rmse": solution.rmse,
    }
    for name, data in images.items():
        image = nib.Nifti1Image(np.asarray(data, dtype=np.float32), inputs.affine)
        image.header.set_xyzt_units("mm")
        nib.save(image, out_dir / f"{name}.nii.gz")


def _write_json(values: dict[str, Any], file: Path) -> None:
    file.write_text(json.dumps(values, indent=2))
