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
import torch
from jaxtyping import Bool, Float

from shd_bids.dwi.gradients import GradientTable, read_mrtrix_gradients
from shd_bids.dwi.shells import Shells, cluster_shells
from shd_bids.response.io import Response, read_response
from shd_bids.sphere.harmonics import count_coefficients

from .checkpoint import load_weights, save_weights
from .classical import fit_csd, fit_msmt_csd
from .device import choose_device, choose_precision, describe_device
from .forward import build_signal_model
from .losses import LossWeights
from .network import NetworkSettings, ShdNetwork
from .patches import crop_to_mask
from .predict import predict
from .presets import Preset, get_preset
from .rumba import fit_rumba
from .solution import TISSUES, FodfSolution
from .train import History, train

LOGGER = logging.getLogger(__name__)

_SHD = {"shd-tv": "shdtv", "shd": "shd"}
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
    torch.set_num_threads(job.n_threads)
    job.out_dir.mkdir(parents=True, exist_ok=True)
    inputs = _load(job)
    summary: dict[str, Any] = {"model": job.model, "lmax": job.lmax}
    if job.model in _SHD:
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
    device = choose_device(job.device)
    compute_dtype = choose_precision(job.precision, device)
    LOGGER.info("Computing on %s in %s.", describe_device(device), compute_dtype)
    preset = get_preset(job.preset)
    if job.n_step is not None:
        preset = replace(preset, steps=job.n_step)
    lmax = _limit_degree(job.lmax, preset)
    model = build_signal_model(inputs.gradients, inputs.shells, inputs.responses, lmax)
    generator = torch.Generator().manual_seed(job.random_seed)
    settings = NetworkSettings(
        n_side=preset.n_side,
        n_level=preset.n_level,
        filters=preset.filters,
        n_order=preset.n_order,
        n_shell=model.n_shell,
        tissues=model.tissues,
    )
    network = ShdNetwork(settings, model, generator).to(device)
    scan = crop_to_mask(inputs.dwi, inputs.mask, model.scale, device, network.start)
    weights = LossWeights.for_model(job.model, job.tv_weight)
    history = History()
    if job.weights_file is not None:
        load_weights(network, job.weights_file)
        LOGGER.info("Took the weights of %s; there is no training.", job.weights_file)
    else:
        history = train(
            network,
            scan,
            preset,
            weights=weights,
            generator=generator,
            compute_dtype=compute_dtype,
            checkpoint_file=job.checkpoint_dir and job.checkpoint_dir / "training.safetensors",
        )
        _write_json(_describe_history(history, weights), job.out_dir / "history.json")
    start = time.monotonic()
    coefficients = predict(network, scan, preset, compute_dtype=compute_dtype)
    seconds = time.monotonic() - start
    residual = coefficients @ network.kernel.cpu().T - scan.dwi.cpu()
    rmse = residual.square().mean(dim=-1).sqrt() * scan.mask.cpu()
    save_weights(network, job.out_dir / "weights.safetensors")

    def embed(values: np.ndarray) -> np.ndarray:
        whole = np.zeros(scan.shape + values.shape[3:], dtype=np.float32)
        whole[scan.box] = values
        return whole

    fodf_sh = coefficients[..., : count_coefficients(lmax)]
    isotropic = coefficients[..., count_coefficients(lmax) :]
    solution = FodfSolution(
        model=_SHD[job.model],
        fodf_sh=embed(fodf_sh.numpy()),
        rmse=embed(rmse.numpy()),
        tissue={
            tissue: embed(isotropic[..., index].numpy())
            for index, tissue in enumerate(model.tissues[1:])
        },
    )
    details = {
        "lmax": lmax,
        "tissues": list(model.tissues),
        "device": describe_device(device),
        "precision": str(compute_dtype).removeprefix("torch."),
        "random_seed": job.random_seed,
        "preset": job.preset,
        "network": asdict(preset),
        "n_parameter": sum(weight.numel() for weight in network.parameters()),
        "loss_weights": asdict(weights),
        "weights_file": str(job.weights_file) if job.weights_file else None,
        "training_seconds": history.seconds[-1] if history.seconds else 0.0,
        "prediction_seconds": seconds,
        "prediction_voxels_per_s": int(scan.mask.sum()) / seconds,
        "response_b0": model.scale,
    }
    return solution, details


def _limit_degree(lmax: int, preset: Preset) -> int:
    """Limit the degree to what the vertices of the network can carry."""
    largest = preset.largest_degree
    if lmax > largest:
        LOGGER.warning(
            "--lmax %d is more than a sphere with n_side %d carries; using %d. "
            "A larger --shd-preset carries more.",
            lmax,
            preset.n_side,
            largest,
        )
    return min(lmax, largest)


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
