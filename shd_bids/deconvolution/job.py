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
from typing import Any

import nibabel as nib
import numpy as np

from shd_bids.bids.files import file_digest
from shd_bids.errors import ConfigError

from .checkpoint import save_weights
from .classical import fit_csd, fit_msmt_csd
from .fit import SHD_LABELS, fit_shd
from .history import CHECKPOINT_SECONDS, History
from .inputs import ScanFiles, ScanInputs, load_scan
from .losses import LossWeights
from .parallel import Team
from .presets import get_preset, steps_of_study
from .rumba import fit_rumba
from .solution import TISSUES, FodfSolution
from .study import train_study

LOGGER = logging.getLogger(__name__)

_CLASSICAL: dict[str, Callable[..., FodfSolution]] = {
    "csd": fit_csd,
    "msmt-csd": fit_msmt_csd,
    "rumba": fit_rumba,
    "rumba-tv": partial(fit_rumba, total_variation=True),
}


@dataclass(frozen=True)
class Job:
    """What to fit and how; the keys of the job file.

    With further ``scans``, which may be none, each with the keys of the job's own (``responses``
    only where they differ), one network is trained for all of them and nothing is deconvolved: its
    weights are the ``weights_file`` of a job for each scan.
    """

    dwi_file: Path
    gradients_file: Path
    mask_file: Path
    responses: dict[str, Path]
    model: str
    out_dir: Path
    checkpoint_dir: Path | None = None
    preset: str = "fast"
    n_step: int | None = None
    shown_directions: int | None = None
    tv_weight: float | None = None
    lmax: int = 8
    b0_threshold: float = 100.0
    shell_tolerance: float = 80.0
    device: str = "auto"
    precision: str = "auto"
    random_seed: int = 0
    n_threads: int = 1
    weights_file: Path | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    scans: tuple[ScanFiles, ...] | None = None

    @property
    def files(self) -> ScanFiles:
        """The scan of the job."""
        return ScanFiles(self.dwi_file, self.gradients_file, self.mask_file, self.responses)

    @classmethod
    def from_file(cls, file: Path) -> "Job":
        """Read a job file."""
        values: dict[str, Any] = json.loads(file.read_text())
        further = [
            ScanFiles.from_dict({"responses": values["responses"]} | scan)
            for scan in values.get("scans") or ()
        ]
        study = {"scans": tuple(further) if values.get("scans") is not None else None}
        paths = {
            name: Path(values[name]) if values.get(name) else None
            for name in ("out_dir", "checkpoint_dir", "weights_file")
        }
        return cls(**values | vars(ScanFiles.from_dict(values)) | paths | study)


def run_job(job: Job, team: Team = Team()) -> None:  # noqa: B008  # frozen
    """Fit, and write the solution, the weights, the course of the training and a summary.

    The first process of a team writes; the others only help a network.
    """
    start = time.monotonic()
    job.out_dir.mkdir(parents=True, exist_ok=True)
    summary: dict[str, Any] = {"model": job.model, "lmax": job.lmax}
    if job.scans is not None:
        summary |= _fit_study(job, team)
    elif job.model in SHD_LABELS:
        summary |= _fit_shd(job, team)
    elif team.is_first:
        summary |= _fit_classical(job)
    if not team.is_first:
        return
    summary["seconds"] = time.monotonic() - start
    _write_json(summary, job.out_dir / "summary.json")
    LOGGER.info("Fitted %s in %.0f s.", job.model, summary["seconds"])


def _fit_classical(job: Job) -> dict[str, Any]:
    inputs = load_scan(job.files, job.b0_threshold, job.shell_tolerance)
    solution = _CLASSICAL[job.model](
        inputs.dwi,
        inputs.gradients,
        inputs.shells,
        inputs.mask,
        inputs.responses,
        lmax=job.lmax,
        n_threads=job.n_threads,
    )
    _save(solution, inputs, job.out_dir)
    tissues = ["WM", *solution.tissue]
    return {"tissues": tissues, "fibre_lobe": solution.fibre_lobe, "device": "cpu"}


def _fit_shd(job: Job, team: Team) -> dict[str, Any]:
    inputs = load_scan(job.files, job.b0_threshold, job.shell_tolerance)
    fit = fit_shd(
        inputs.dwi,
        inputs.gradients,
        inputs.shells,
        inputs.mask,
        inputs.responses,
        affine=inputs.affine,
        weights_file=job.weights_file,
        **_network_options(job, team),
    )
    if team.is_first:
        if job.weights_file is None:
            _write_json(_describe_history(fit.history, fit.weights), job.out_dir / "history.json")
        save_weights(fit.network, job.out_dir / "weights.safetensors", job.preset)
        _save(fit.solution, inputs, job.out_dir)
    told: dict[str, Any] = {"fibre_lobe": fit.solution.fibre_lobe, "preset": job.preset}
    if job.weights_file is not None:
        told["weights_digest"] = file_digest(job.weights_file)
    return fit.details | told


def _fit_study(job: Job, team: Team) -> dict[str, Any]:
    if job.model not in SHD_LABELS:
        raise ConfigError(
            f"The model {job.model} has no network to train on several scans; choose one of "
            f"{', '.join(SHD_LABELS)}."
        )
    scans, options = [job.files, *(job.scans or ())], _network_options(job, team)
    if job.n_step is None:
        steps = steps_of_study(options["preset"], len(scans))
        options["preset"] = replace(options["preset"], steps=steps)
    fit = train_study(
        scans, b0_threshold=job.b0_threshold, shell_tolerance=job.shell_tolerance, **options
    )
    if team.is_first:
        history = _describe_history(fit.history, fit.weights) | {"scans": fit.losses}
        _write_json(history, job.out_dir / "history.json")
        save_weights(fit.network, job.out_dir / "weights.safetensors", job.preset)
    return fit.details | {"preset": job.preset}


def _network_options(job: Job, team: Team) -> dict[str, Any]:
    preset = get_preset(job.preset)
    steps = preset.steps if job.n_step is None else job.n_step
    return {
        "model": job.model,
        "preset": replace(preset, steps=steps, shown_directions=job.shown_directions),
        "lmax": job.lmax,
        "tv_weight": job.tv_weight,
        "device": job.device,
        "precision": job.precision,
        "random_seed": job.random_seed,
        "n_threads": job.n_threads,
        "checkpoint_file": job.checkpoint_dir and job.checkpoint_dir / "training.safetensors",
        "checkpoint_seconds": job.checkpoint_seconds,
        "team": team,
    }


def _describe_history(history: History, weights: LossWeights) -> dict[str, Any]:
    rate = history.n_voxel / history.seconds[-1] if history.seconds else 0.0
    return {
        "step": history.step,
        "seconds": history.seconds,
        "loss": history.loss,
        "weights": asdict(weights),
        "voxels_per_s": rate,
    }


def _save(solution: FodfSolution, inputs: ScanInputs, out_dir: Path) -> None:
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
