"""Nodes that prepare the diffusion series."""

from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from shd_bids.dwi.denoise import denoise_mppca
from shd_bids.dwi.gradients import (
    concatenate_gradients,
    read_fsl_gradients,
    write_mrtrix_gradients,
)
from shd_bids.dwi.images import load_dwi
from shd_bids.dwi.mask import check_mask, estimate_brain_mask
from shd_bids.dwi.merging import match_intensities, merge_runs
from shd_bids.dwi.patch2self import denoise_patch2self

from .nifti import read_affine, write_array
from .series import SeriesInputSpec, load_series


class _MergeRunsInputSpec(BaseInterfaceInputSpec):
    dwi_files = InputMultiObject(File(exists=True), mandatory=True, desc="4-D images, in order")
    bval_files = InputMultiObject(File(exists=True), mandatory=True, desc="FSL b-values")
    bvec_files = InputMultiObject(File(exists=True), mandatory=True, desc="FSL directions")
    phases = traits.List(
        traits.Either(traits.Str, None), mandatory=True, desc="phase-encoding direction of each run"
    )
    b0_threshold = traits.Float(mandatory=True, desc="largest b-value that counts as b=0, s/mm²")


class _MergeRunsOutputSpec(TraitedSpec):
    dwi_file = File(desc="all volumes, 32-bit")
    gradients_file = File(desc="MRtrix3 table, scanner RAS+ axes")
    found = traits.Dict(desc="factor of each run's intensity, in words")


class MergeRuns(SimpleInterface):
    """Join the runs, at one scale, and their gradient tables, which were checked already."""

    input_spec = _MergeRunsInputSpec
    output_spec = _MergeRunsOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, data, tables, out = self.inputs, [], [], Path(runtime.cwd)
        for dwi, bval, bvec in zip(spec.dwi_files, spec.bval_files, spec.bvec_files, strict=True):
            image = load_dwi(Path(dwi))
            data.append(np.asarray(image.dataobj))
            tables.append(read_fsl_gradients(Path(bval), Path(bvec), image.affine))
        names = [Path(file).name for file in spec.dwi_files]
        is_b0 = [table.bvals <= spec.b0_threshold for table in tables]
        factors = match_intensities(data, is_b0, names=names, phases=spec.phases)
        merged = merge_runs(data, factors)
        self._results["dwi_file"] = write_array(merged, spec.dwi_files[0], out / "dwi.nii")
        write_mrtrix_gradients(concatenate_gradients(tables), out / "dwi.b")
        self._results["gradients_file"] = str(out / "dwi.b")
        found = [f"{name} x {factor:.3g}" for name, factor in zip(names, factors, strict=True)]
        self._results["found"] = {"Intensity": found} if len(names) > 1 else {}
        return runtime


class _DenoiseInputSpec(SeriesInputSpec):
    method = traits.Enum("mppca", "patch2self", mandatory=True, desc="how noise is removed")
    n_threads = traits.Int(1, usedefault=True, nohash=True, desc="threads")


class _DenoiseOutputSpec(TraitedSpec):
    dwi_file = File(desc="denoised series")
    sigma_file = File(desc="standard deviation of the noise")


class DenoiseDwi(SimpleInterface):
    """Remove thermal noise by MP-PCA or Patch2Self."""

    input_spec = _DenoiseInputSpec
    output_spec = _DenoiseOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        source = self.inputs.dwi_file
        dwi, _, shells = load_series(self.inputs)
        if self.inputs.method == "patch2self":
            denoised, sigma = denoise_patch2self(dwi, shells.index == 0)
        else:
            denoised, sigma = denoise_mppca(dwi, n_threads=self.inputs.n_threads)
        out = Path(runtime.cwd)
        self._results["dwi_file"] = write_array(denoised, source, out / "dwi.nii")
        self._results["sigma_file"] = write_array(sigma, source, out / "sigma.nii.gz")
        return runtime


class _MaskInputSpec(SeriesInputSpec):
    method = traits.Enum("median-otsu", "none", mandatory=True, desc="how the brain is found")


class _MaskOutputSpec(TraitedSpec):
    mask_file = File(desc="brain mask")
    b0_file = File(desc="mean of the b=0 volumes")


class EstimateMask(SimpleInterface):
    """Find the brain, or every voxel with signal."""

    input_spec = _MaskInputSpec
    output_spec = _MaskOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        source = self.inputs.dwi_file
        dwi, _, shells = load_series(self.inputs)
        b0 = dwi[..., shells.volumes(0)].mean(axis=3)
        if self.inputs.method == "none":
            mask = b0 > 0
        else:
            x_mm, y_mm, z_mm = (float(mm) for mm in voxel_sizes(read_affine(source)))
            mask = estimate_brain_mask(dwi, shells, (x_mm, y_mm, z_mm))
        check_mask(mask, dwi.shape[:3], source=f"--mask-method {self.inputs.method}")
        out = Path(runtime.cwd)
        self._results["mask_file"] = write_array(mask, source, out / "mask.nii.gz")
        self._results["b0_file"] = write_array(b0, source, out / "b0.nii.gz")
        return runtime
