"""The nodes that measure the preprocessed series and prepare it for others to use."""

from pathlib import Path
from typing import Any

from nibabel.affines import voxel_sizes
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from shd_bids.dwi.confounds import volume_confounds
from shd_bids.dwi.gradients import read_mrtrix_gradients, write_fsl_gradients
from shd_bids.dwi.quality import quality_measures

from .nifti import read_affine, read_array, read_mask, write_array
from .series import SeriesInputSpec, load_series
from .tables import write_table


class _MeasureQualityInputSpec(SeriesInputSpec):
    raw_file = File(exists=True, mandatory=True, desc="series before preprocessing")
    sigma_file = File(exists=True, desc="standard deviation of the noise")
    mask_file = File(exists=True, mandatory=True, desc="brain mask")


class _MeasureQualityOutputSpec(TraitedSpec):
    qc_file = File(desc="one row of measures")
    confounds_file = File(desc="one row per volume")


class MeasureQuality(SimpleInterface):
    """Measure the series as a whole and volume by volume."""

    input_spec = _MeasureQualityInputSpec
    output_spec = _MeasureQualityOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        dwi, gradients, shells = load_series(spec)
        raw = read_array(spec.raw_file)
        mask = read_mask(spec.mask_file)
        x_mm, y_mm, z_mm = (float(mm) for mm in voxel_sizes(read_affine(spec.dwi_file)))
        denoised = isdefined(spec.sigma_file)
        measures = quality_measures(
            raw,
            gradients,
            shells,
            mask,
            voxel_size_mm=(x_mm, y_mm, z_mm),
            denoised=dwi if denoised else None,
            sigma=read_array(spec.sigma_file) if denoised else None,
        )
        self._results["qc_file"] = write_table(
            {name: [value] for name, value in measures.items()}, out / "qc.tsv"
        )
        self._results["confounds_file"] = write_table(
            volume_confounds(raw, dwi, gradients, shells, mask), out / "confounds.tsv"
        )
        return runtime


class _ExportDwiInputSpec(BaseInterfaceInputSpec):
    dwi_file = File(exists=True, mandatory=True, desc="4-D image")
    gradients_file = File(exists=True, mandatory=True, desc="MRtrix3 table")


class _ExportDwiOutputSpec(TraitedSpec):
    out_files = traits.Dict(traits.Str, File(exists=True), desc="dwi, bval and bvec")


class ExportDwi(SimpleInterface):
    """Compress the series and write its gradients as FSL and BIDS want them."""

    input_spec = _ExportDwiInputSpec
    output_spec = _ExportDwiOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        source, out = self.inputs.dwi_file, Path(runtime.cwd)
        table = read_mrtrix_gradients(Path(self.inputs.gradients_file))
        write_fsl_gradients(table, read_affine(source), out / "dwi.bval", out / "dwi.bvec")
        self._results["out_files"] = {
            "dwi": write_array(read_array(source), source, out / "dwi.nii.gz"),
            "bval": str(out / "dwi.bval"),
            "bvec": str(out / "dwi.bvec"),
        }
        return runtime
