"""Nodes that give every streamline a weight."""

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from shd_bids.errors import TrackingError
from shd_bids.tractography.life import weigh_by_life
from shd_bids.tractography.tractogram import read_batches
from shd_bids.tractography.weights import (
    choose_method,
    five_tissues,
    read_weights,
    write_weights,
)

from .nifti import read_affine, read_array, read_mask, write_array
from .process import run_tool
from .series import SeriesInputSpec, load_series

_N_LINE = 5
_SIFT2_COLUMN = {
    "Description": (
        "Cross-section multiplier of a streamline. Times SIFT2Mu, and summed over the streamlines "
        "of a bundle, it is the bundle's capacity in units of AFD times mm."
    ),
    "Units": "1",
}
_LIFE_COLUMN = {
    "Description": (
        "What one point of a streamline adds to the signal of its voxel, as a share of that of a "
        "stick of 0.001 mm2/s. It depends on the step of the streamlines."
    ),
    "Units": "1",
}
_MIN_WHITE = 0.1


class _WeighBySift2InputSpec(BaseInterfaceInputSpec):
    tck_file = File(exists=True, mandatory=True, desc="streamlines")
    n_streamlines = traits.Int(mandatory=True, desc="streamlines in the file")
    fod_files = traits.Dict(
        traits.Str, File(exists=True), mandatory=True, desc="harmonics by tissue"
    )
    fraction_files = traits.Dict(
        traits.Str, File(exists=True), desc="volume fraction by tissue; without three no -act"
    )
    mask_file = File(exists=True, mandatory=True, desc="brain mask")
    n_threads = traits.Int(1, usedefault=True, nohash=True, desc="threads")


class WeightsOutputSpec(TraitedSpec):
    """What every method gives."""

    weights_file = File(desc="one per streamline in their order, TSV with the column weight")
    found = traits.Dict(desc="fields of the sidecar")


class WeighBySift2(SimpleInterface):
    """Weigh streamlines so that their density follows the fODFs, by MRtrix3's SIFT2."""

    input_spec = _WeighBySift2InputSpec
    output_spec = WeightsOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        out_file = out / "weights.tsv"
        self._results["found"] = {"WeightsMethod": "SIFT2", "weight": _SIFT2_COLUMN}
        if spec.n_streamlines == 0:
            no_weights = np.zeros(0, dtype=np.float32)
            self._results["weights_file"] = write_weights(no_weights, out_file)
            return runtime
        choose_method("sift2")
        command = ["tcksift2", "-nthreads", spec.n_threads, "-quiet"]
        command += ["-force", "-out_mu", "mu.txt"]  # a node may run again
        if act_file := self._write_tissues(out):
            command += ["-act", act_file]
        command += [spec.tck_file, spec.fod_files["WM"], "weights.txt"]
        ended = run_tool(list(map(str, command)), out)
        if ended.returncode != 0:
            said = "\n".join((ended.stderr or ended.stdout).strip().splitlines()[-_N_LINE:])
            raise TrackingError(
                f"tcksift2 failed on {Path(spec.tck_file).name} ({ended.returncode}):\n{said}\n"
                "Use --streamline-weights none to do without."
            )
        weights = read_weights(out / "weights.txt")
        if len(weights) != spec.n_streamlines:
            raise TrackingError(
                f"tcksift2 gave {len(weights)} weights for the {spec.n_streamlines} streamlines of "
                f"{spec.tck_file}; expected one each. Use --streamline-weights none to do without."
            )
        self._results["weights_file"] = write_weights(weights, out_file)
        self._results["found"] |= {
            "SIFT2Mu": float((out / "mu.txt").read_text()),
            "SIFT2AnatomicalConstraint": act_file is not None,
        }
        return runtime

    def _write_tissues(self, out: Path) -> str | None:
        files = self.inputs.fraction_files
        if not isdefined(files):
            return None
        fractions = {tissue: read_array(file) for tissue, file in files.items()}
        tissues = five_tissues(fractions, read_mask(self.inputs.mask_file))
        if tissues is None:
            return None
        return write_array(tissues, self.inputs.mask_file, out / "5tt.nii.gz")


class _WeighByLifeInputSpec(SeriesInputSpec):
    tck_file = File(exists=True, mandatory=True, desc="streamlines")
    n_streamlines = traits.Int(mandatory=True, desc="streamlines in the file")
    fraction_files = traits.Dict(
        traits.Str, File(exists=True), mandatory=True, desc="volume fraction by tissue"
    )
    mask_file = File(exists=True, mandatory=True, desc="brain mask")
    max_gb = traits.Float(mandatory=True, nohash=True, desc="memory that may be used")


class WeighByLife(SimpleInterface):
    """Weigh streamlines so that they explain the signal of one shell, by LiFE."""

    input_spec = _WeighByLifeInputSpec
    output_spec = WeightsOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec = self.inputs
        series, gradients, shells = load_series(spec)
        # The shell with most volumes; of two alike the outer one, which tells directions better.
        shell = max(range(1, shells.n_shell), key=lambda one: (shells.counts[one], one))
        volumes = shells.volumes(shell)
        b0 = series[..., shells.volumes(0)].mean(axis=-1)
        mask = read_mask(spec.mask_file) & (b0 > 0)
        white = read_array(spec.fraction_files["WM"])
        signal = series[..., volumes] / np.where(mask, b0, 1.0)[..., None]
        weights = weigh_by_life(
            read_batches(Path(spec.tck_file)), signal, gradients.bvals[volumes],
            gradients.bvecs_ras[volumes], mask & (white > _MIN_WHITE), read_affine(spec.dwi_file),
            max_gb=spec.max_gb,
        )  # fmt: skip
        if len(weights) != spec.n_streamlines:
            raise TrackingError(
                f"{spec.tck_file} holds {len(weights)} streamlines; expected {spec.n_streamlines}. "
                "Was it changed after tracking? Run again with an empty work directory."
            )
        self._results["weights_file"] = write_weights(weights, Path(runtime.cwd) / "weights.tsv")
        self._results["found"] = {
            "WeightsMethod": "LiFE",
            "LiFEShell": float(shells.bvals[shell]),
            "weight": _LIFE_COLUMN,
        }
        return runtime
