"""The nodes that measure the preprocessed series and prepare it for others to use."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
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
from shd_bids.dwi.quality import (
    MeasuredSeries,
    acquisition_measures,
    motion_measures,
    noise_measures,
    preproc_measures,
)
from shd_bids.dwi.transforms import read_transforms

from .motion import read_outliers
from .nifti import read_affine, read_array, read_mask, write_array
from .series import SeriesInputSpec, load_series
from .tables import write_table


class _MeasureRawInputSpec(SeriesInputSpec):
    mask_file = File(exists=True, mandatory=True, desc="brain mask")
    sigma_file = File(exists=True, desc="standard deviation of the noise")


class _MeasureRawOutputSpec(TraitedSpec):
    measures = traits.Dict(desc="measures by name")


class MeasureRaw(SimpleInterface):
    """Measure the series as acquired."""

    input_spec = _MeasureRawInputSpec
    output_spec = _MeasureRawOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        series = _load(self.inputs)
        measures = acquisition_measures(series)
        if isdefined(self.inputs.sigma_file):
            measures |= noise_measures(series, read_array(self.inputs.sigma_file))
        self._results["measures"] = measures
        return runtime


class _MeasureQualityInputSpec(SeriesInputSpec):
    mask_file = File(exists=True, mandatory=True, desc="brain mask")
    raw_measures = traits.Dict(desc="of the series as acquired, by name")
    field_measures = traits.Dict(desc="of the distortion, by name")
    gradient_measures = traits.Dict(desc="of the check of the gradients, by name")
    transforms_file = File(exists=True, desc="head motion and eddy currents")
    outliers_file = File(exists=True, desc="slices that were replaced")
    given_confounds_file = File(exists=True, desc="confounds that came with the series")


class _MeasureQualityOutputSpec(TraitedSpec):
    measures = traits.Dict(desc="of the series, by name")
    confounds_file = File(desc="one row per volume")


class MeasureQuality(SimpleInterface):
    """Measure the preprocessed series as a whole and volume by volume."""

    input_spec = _MeasureQualityInputSpec
    output_spec = _MeasureQualityOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        series = _load(spec)
        measures = dict(spec.raw_measures or {})
        measures |= preproc_measures(series, measures.get("noise_sigma"))
        measures |= {**(spec.field_measures or {}), **(spec.gradient_measures or {})}
        transforms, dropout = None, None
        if isdefined(spec.transforms_file):
            transforms = read_transforms(Path(spec.transforms_file))
            scores, dropout = read_outliers(Path(spec.outliers_file))
            measures |= motion_measures(transforms, dropout, ~np.isnan(scores))
        if isdefined(spec.given_confounds_file):
            measures |= _given_displacement(spec.given_confounds_file)
            self._results["confounds_file"] = spec.given_confounds_file
        else:
            columns = volume_confounds(
                series.dwi,
                series.gradients,
                series.shells,
                series.mask,
                transforms=transforms,
                dropout=dropout,
            )
            self._results["confounds_file"] = write_table(columns, out / "confounds.tsv")
        self._results["measures"] = measures
        return runtime


def _given_displacement(confounds_file: str) -> dict[str, float]:
    """Measure the motion that somebody else found."""
    table = pd.read_csv(confounds_file, sep="\t", na_values="n/a")
    if "framewise_displacement" not in table:
        return {}
    displacement = table["framewise_displacement"]
    return {"mean_fd": float(displacement.mean()), "max_fd": float(displacement.max())}


def _load(inputs: Any) -> MeasuredSeries:
    x_mm, y_mm, z_mm = (float(mm) for mm in voxel_sizes(read_affine(inputs.dwi_file)))
    return MeasuredSeries(*load_series(inputs), read_mask(inputs.mask_file), (x_mm, y_mm, z_mm))


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
