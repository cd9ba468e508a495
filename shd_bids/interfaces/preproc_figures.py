"""Nodes that picture the preprocessed series."""

from pathlib import Path
from typing import Any

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from shd_bids.bids.files import write_text
from shd_bids.dwi.quality import describe_measure
from shd_bids.dwi.transforms import read_transforms
from shd_bids.reports.figures.denoising import plot_denoising
from shd_bids.reports.figures.gradients import plot_gradients
from shd_bids.reports.figures.images import plot_maps
from shd_bids.reports.figures.motion import plot_motion
from shd_bids.reports.figures.outlines import plot_outlines
from shd_bids.reports.fragments import data_table, fact_table, shells_table

from .motion import read_outliers
from .nifti import read_affine, read_array, read_mask
from .series import SeriesInputSpec, load_gradients, load_series

_BIAS_RANGE = (0.5, 1.5)


class FiguresOutputSpec(TraitedSpec):
    """Pictures and fragments of HTML of one step."""

    out_files = traits.Dict(traits.Str, File(exists=True), desc="by what they show")


class _PlotGradientsInputSpec(BaseInterfaceInputSpec):
    gradients_file = File(exists=True, mandatory=True, desc="MRtrix3 table")
    b0_threshold = traits.Float(mandatory=True, desc="largest b-value that counts as b=0")
    shell_tolerance = traits.Float(mandatory=True, desc="b-values this close are one shell")


class PlotGradients(SimpleInterface):
    """Picture the gradient scheme and list its shells."""

    input_spec = _PlotGradientsInputSpec
    output_spec = FiguresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        out = Path(runtime.cwd)
        table, shells = load_gradients(self.inputs)
        plot_gradients(
            table.bvals, table.bvecs_ras, shells.bvals, shells.index, out / "gradients.svg"
        )
        write_text(out / "shells.html", shells_table(shells.bvals, shells.counts))
        self._results["out_files"] = {
            "gradients": str(out / "gradients.svg"),
            "shells": str(out / "shells.html"),
        }
        return runtime


class _PlotMaskInputSpec(BaseInterfaceInputSpec):
    b0_file = File(exists=True, mandatory=True, desc="mean of the b=0 volumes")
    mask_file = File(exists=True, mandatory=True, desc="brain mask")


class PlotMask(SimpleInterface):
    """Picture the outline of the brain mask."""

    input_spec = _PlotMaskInputSpec
    output_spec = FiguresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        b0_file, out_file = self.inputs.b0_file, Path(runtime.cwd) / "mask.png"
        mask = read_mask(self.inputs.mask_file)
        plot_outlines(read_array(b0_file), mask, read_affine(b0_file), out_file)
        self._results["out_files"] = {"mask": str(out_file)}
        return runtime


class _PlotDenoisingInputSpec(SeriesInputSpec):
    raw_file = File(exists=True, mandatory=True, desc="series before denoising")
    sigma_file = File(exists=True, mandatory=True, desc="standard deviation of the noise")
    mask_file = File(exists=True, mandatory=True, desc="brain mask")


class PlotDenoising(SimpleInterface):
    """Picture one volume of the highest shell before and after denoising."""

    input_spec = _PlotDenoisingInputSpec
    output_spec = FiguresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out_file = self.inputs, Path(runtime.cwd) / "denoising.svg"
        dwi, _, shells = load_series(spec)
        volume = int(shells.volumes(shells.n_shell - 1)[0])
        plot_denoising(
            read_array(spec.raw_file)[..., volume],
            dwi[..., volume],
            read_mask(spec.mask_file),
            read_affine(spec.dwi_file),
            out_file,
            label=f"b = {shells.bvals[-1]:g} s/mm², volume {volume + 1}",
            sigma=read_array(spec.sigma_file),
        )
        self._results["out_files"] = {"denoising": str(out_file)}
        return runtime


class _PlotMotionInputSpec(BaseInterfaceInputSpec):
    gradients_file = File(exists=True, mandatory=True, desc="MRtrix3 table")
    b0_threshold = traits.Float(mandatory=True, desc="largest b-value that counts as b=0")
    shell_tolerance = traits.Float(mandatory=True, desc="b-values this close are one shell")
    transforms_file = File(exists=True, mandatory=True, desc="head motion and eddy currents")
    outliers_file = File(exists=True, mandatory=True, desc="slices against their prediction")


class PlotMotion(SimpleInterface):
    """Picture how the head moved and which slices dropped."""

    input_spec = _PlotMotionInputSpec
    output_spec = FiguresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out_file = self.inputs, Path(runtime.cwd) / "motion.svg"
        _, shells = load_gradients(spec)
        scores, dropout = read_outliers(Path(spec.outliers_file))
        transforms = read_transforms(Path(spec.transforms_file))
        plot_motion(transforms, shells, out_file, slice_scores=scores, dropout=dropout)
        self._results["out_files"] = {"motion": str(out_file)}
        return runtime


class _PlotBiasInputSpec(BaseInterfaceInputSpec):
    bias_file = File(exists=True, mandatory=True, desc="field, 1 in the mean")
    mask_file = File(exists=True, mandatory=True, desc="brain mask")


class PlotBias(SimpleInterface):
    """Picture the bias field that was divided out."""

    input_spec = _PlotBiasInputSpec
    output_spec = FiguresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        bias_file, out_file = self.inputs.bias_file, Path(runtime.cwd) / "bias.png"
        plot_maps(
            {"": read_array(bias_file)},
            read_mask(self.inputs.mask_file),
            read_affine(bias_file),
            out_file,
            label="bias field that the signal was divided by",
            cmap="inferno",
            value_range=_BIAS_RANGE,
        )
        self._results["out_files"] = {"bias": str(out_file)}
        return runtime


class _TabulateInputSpec(BaseInterfaceInputSpec):
    facts = traits.Dict(mandatory=True, desc="what was asked for, by name")
    found = traits.List(traits.Dict, desc="what the steps found and did, by name, in their order")
    qc_file = File(exists=True, desc="one row of measures")


class TabulatePreproc(SimpleInterface):
    """List what was done and what was measured."""

    input_spec = _TabulateInputSpec
    output_spec = FiguresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        out = Path(runtime.cwd)
        facts = dict(self.inputs.facts)
        for found in self.inputs.found or ():
            facts |= found
        write_text(out / "preprocessing.html", fact_table(facts))
        files = {"preprocessing": str(out / "preprocessing.html")}
        if isdefined(self.inputs.qc_file):
            lines = Path(self.inputs.qc_file).read_text(encoding="utf-8").splitlines()
            names, values = (line.split("\t") for line in lines)
            rows = []
            for name, value in zip(names, values, strict=True):
                meaning, unit = describe_measure(name)
                rows.append((meaning, float(value) if value != "n/a" else value, unit))
            write_text(out / "quality.html", data_table(["measure", "value", "unit"], rows))
            files["quality"] = str(out / "quality.html")
        self._results["out_files"] = files
        return runtime
