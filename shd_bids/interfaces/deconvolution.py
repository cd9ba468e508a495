"""The node that fits fibre orientations, in a process of its own.

The network and its CUDA context live in a child process that ends with the fit, so that the
process which runs the graph never holds a card.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    Directory,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from shd_bids.config import FOD_MODELS, TISSUES

from .nifti import read_array, write_array
from .process import run_program
from .series import SeriesInputSpec


class NetworkInputSpec(BaseInterfaceInputSpec):
    """What decides how a model is fitted, to one scan or to many."""

    model = traits.Enum(*FOD_MODELS, mandatory=True, desc="method")
    lmax = traits.Int(mandatory=True, desc="largest harmonic degree")
    preset = traits.Str("fast", usedefault=True, desc="size and schedule of the network")
    n_step = traits.Int(desc="training steps instead of the preset's")
    tv_weight = traits.Float(desc="weight of the total variation")
    random_seed = traits.Int(0, usedefault=True, desc="seed of the training")
    precision = traits.Str("auto", usedefault=True, desc="arithmetic of the network")
    device = traits.Str("cpu", usedefault=True, desc="cuda or cpu")
    n_threads = traits.Int(1, usedefault=True, nohash=True, desc="threads")
    checkpoint_dir = Directory(nohash=True, desc="where training is resumed from")


class _FitFodfInputSpec(SeriesInputSpec, NetworkInputSpec):
    mask_file = File(exists=True, mandatory=True, desc="brain mask")
    response_files = traits.Dict(
        traits.Str, File(exists=True), mandatory=True, desc="MRtrix3 text by tissue"
    )
    weights_file = File(exists=True, desc="network weights to start from")
    use_gpu = traits.Bool(False, usedefault=True, nohash=True, desc="takes a slot of a card")


class _FitFodfOutputSpec(TraitedSpec):
    fod_files = traits.Dict(traits.Str, File(exists=True), desc="harmonics by tissue")
    fraction_files = traits.Dict(traits.Str, File(exists=True), desc="volume fraction by tissue")
    rmse_file = File(desc="residual over the b=0 of the white matter response")
    weights_file = File(desc="network weights")
    history_file = File(desc="course of the training, JSON")
    summary_file = File(desc="what was done, JSON")


class FitFodf(SimpleInterface):
    """Fit fibre orientation distributions in a child process."""

    input_spec = _FitFodfInputSpec
    output_spec = _FitFodfOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        out = Path(runtime.cwd)
        job_file = out / "job.json"
        job_file.write_text(json.dumps(self._job(out), indent=2))
        run_program([sys.executable, "-m", "shd_bids.deconvolution", str(job_file)], out)
        self._results["fod_files"] = {
            file.name.removeprefix("fod_").removesuffix(".nii.gz"): str(file)
            for file in sorted(out.glob("fod_*.nii.gz"))
        }
        self._results["fraction_files"] = _split_fractions(out / "fractions.nii.gz")
        for name, file in {
            "rmse_file": out / "rmse.nii.gz",
            "weights_file": out / "weights.safetensors",
            "history_file": out / "history.json",
            "summary_file": out / "summary.json",
        }.items():
            if file.is_file():
                self._results[name] = str(file)
        return runtime

    def _job(self, out_dir: Path) -> dict[str, Any]:
        """Describe the fit."""
        spec = self.inputs
        job = describe_job(spec) | {
            "dwi_file": spec.dwi_file,
            "gradients_file": spec.gradients_file,
            "mask_file": spec.mask_file,
            "responses": dict(spec.response_files),
            "weights_file": given(spec, "weights_file"),
        }
        files = [spec.dwi_file, spec.gradients_file, spec.mask_file, *spec.response_files.values()]
        return place_job(job, spec, files, out_dir)


def given(spec: Any, name: str) -> Any:
    """Give an input of a node, or None where it is not set."""
    value = getattr(spec, name)
    return value if isdefined(value) else None


def describe_job(spec: Any) -> dict[str, Any]:
    """Give the part of a job file that is the same for one scan and for many."""
    return {
        "model": spec.model,
        "preset": spec.preset,
        "n_step": given(spec, "n_step"),
        "tv_weight": given(spec, "tv_weight"),
        "lmax": spec.lmax,
        "b0_threshold": spec.b0_threshold,
        "shell_tolerance": spec.shell_tolerance,
        "device": spec.device,
        "precision": spec.precision,
        "random_seed": spec.random_seed,
    }


def place_job(
    job: dict[str, Any], spec: Any, files: Sequence[str], out_dir: Path
) -> dict[str, Any]:
    """Say where a job writes, and where its checkpoints are: those of another are never met."""
    stamps = [(file, Path(file).stat().st_size, Path(file).stat().st_mtime) for file in files]
    digest = hashlib.sha256(json.dumps([job, stamps]).encode()).hexdigest()[:16]
    checkpoint_dir = Path(given(spec, "checkpoint_dir") or out_dir / "checkpoints") / digest
    return job | {
        "n_threads": spec.n_threads,
        "checkpoint_dir": str(checkpoint_dir),
        "out_dir": str(out_dir),
    }


def _split_fractions(fractions_file: Path) -> dict[str, str]:
    """Write one volume per tissue that the model knows."""
    fractions = read_array(fractions_file)
    return {
        tissue: write_array(
            fractions[..., i], fractions_file, fractions_file.with_name(f"fraction_{tissue}.nii.gz")
        )
        for i, tissue in enumerate(TISSUES)
        if fractions[..., i].any()
    }
