"""Nodes that correct the images volume by volume or check them against their gradients."""

from pathlib import Path
from typing import Any

from nibabel.affines import voxel_sizes
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from shd_bids.bids.files import write_text
from shd_bids.dwi.bias import correct_bias
from shd_bids.dwi.orientation import OrientationCheck, check_orientation
from shd_bids.dwi.unringing import remove_gibbs_ringing
from shd_bids.reports.fragments import alert, data_table, note

from .nifti import read_affine, read_array, read_mask, write_array
from .series import SeriesInputSpec, load_series
from .tables import write_table

_SHOWN_CANDIDATES = 5


class _UnringInputSpec(BaseInterfaceInputSpec):
    dwi_file = File(exists=True, mandatory=True, desc="4-D image, never interpolated")
    slice_axis = traits.Range(0, 2, value=2, usedefault=True, desc="image axis across the slices")
    n_threads = traits.Int(1, usedefault=True, nohash=True, desc="threads, one volume each")


class _UnringOutputSpec(TraitedSpec):
    dwi_file = File(desc="series without Gibbs ringing")


class UnringDwi(SimpleInterface):
    """Remove Gibbs ringing by sub-voxel shifts."""

    input_spec = _UnringInputSpec
    output_spec = _UnringOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec = self.inputs
        unrung = remove_gibbs_ringing(
            read_array(spec.dwi_file), slice_axis=spec.slice_axis, n_threads=spec.n_threads
        )
        out_file = Path(runtime.cwd) / "dwi.nii"
        self._results["dwi_file"] = write_array(unrung, spec.dwi_file, out_file)
        return runtime


class _BiasInputSpec(SeriesInputSpec):
    mask_file = File(exists=True, mandatory=True, desc="brain mask")
    n_threads = traits.Int(1, usedefault=True, nohash=True, desc="threads")


class _BiasOutputSpec(TraitedSpec):
    dwi_file = File(desc="series without intensity bias")
    bias_file = File(desc="field that the series was divided by; 1 in the mean over the mask")


class CorrectBias(SimpleInterface):
    """Divide the series by its bias field."""

    input_spec = _BiasInputSpec
    output_spec = _BiasOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        source = self.inputs.dwi_file
        dwi, _, shells = load_series(self.inputs)
        x_mm, y_mm, z_mm = (float(mm) for mm in voxel_sizes(read_affine(source)))
        corrected, field = correct_bias(
            dwi,
            shells,
            read_mask(self.inputs.mask_file),
            (x_mm, y_mm, z_mm),
            n_threads=self.inputs.n_threads,
        )
        out = Path(runtime.cwd)
        self._results["dwi_file"] = write_array(corrected, source, out / "dwi.nii")
        self._results["bias_file"] = write_array(field, source, out / "bias.nii.gz")
        return runtime


class _CheckOrientationInputSpec(SeriesInputSpec):
    mask_file = File(exists=True, mandatory=True, desc="brain mask")


class _CheckOrientationOutputSpec(TraitedSpec):
    verdict = traits.Str(desc="what was found, for log and report")
    ok = traits.Bool(desc="no other table fits the images better beyond doubt")
    measures = traits.Dict(desc="verdict and what it rests on, by name")
    fields = traits.Dict(desc="the same for a sidecar")
    table_file = File(desc="fibre coherence of every change of axes, TSV")
    out_files = traits.Dict(traits.Str, File(exists=True), desc="verdict as HTML")


class CheckOrientation(SimpleInterface):
    """Compare the gradient table with all flips and permutations of its axes; change nothing."""

    input_spec = _CheckOrientationInputSpec
    output_spec = _CheckOrientationOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        dwi, gradients, shells = load_series(spec)
        check = check_orientation(
            dwi, gradients, shells, read_mask(spec.mask_file), read_affine(spec.dwi_file)
        )
        columns = {"bvec_rows": check.rows, "coherence": check.coherence, "lead": check.lead}
        write_text(out / "orientation.html", _as_html(check))
        self._results |= {
            "verdict": check.describe(),
            "ok": not check.is_wrong,
            "measures": check.measures(),
            "fields": check.fields(),
            "table_file": write_table(columns, out / "orientation.tsv"),
            "out_files": {"orientation": str(out / "orientation.html")},
        }
        return runtime


def _as_html(check: OrientationCheck) -> str:
    order = check.coherence.argsort()[::-1][:_SHOWN_CANDIDATES].tolist()
    rows = [
        (
            check.rows[index] + (" (as given)" if index == 0 else ""),
            float(check.coherence[index]),
            "" if index == 0 else float(check.lead[index]),
        )
        for index in (order if 0 in order else [*order, 0])
    ]
    heads = ["rows of the .bvec file", "fibre coherence", "standard errors below the one given"]
    said = check.describe()
    verdict = alert(said, "danger") if check.is_wrong else note(said)
    return verdict + "\n" + data_table(heads, rows)
