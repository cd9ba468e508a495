"""Nodes that bring maps of the series to other spaces."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from shd_bids.anat.resampling import Kind, resample
from shd_bids.anat.volume import bound_threads
from shd_bids.dwi.images import open_image

from .nifti import write_array
from .volumes import read_chain, read_grid, read_volume


class _MakeGridInputSpec(BaseInterfaceInputSpec):
    reference_file = File(exists=True, mandatory=True, desc="image whose field of view is filled")
    like_file = File(exists=True, desc="image that gives the voxel size; the reference by default")


class _MakeGridOutputSpec(TraitedSpec):
    grid_file = File(desc="image without content")


class MakeGrid(SimpleInterface):
    """Fill a field of view with cubes as large as the smallest edge of another image's voxels."""

    input_spec = _MakeGridInputSpec
    output_spec = _MakeGridOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, file = self.inputs, Path(runtime.cwd) / "grid.nii.gz"
        grid = read_grid(spec.reference_file)
        if isdefined(spec.like_file):
            grid = grid.with_voxels(min(read_grid(spec.like_file).voxel_mm))
        image = nib.Nifti1Image(np.zeros(grid.shape, np.uint8), grid.affine)
        header = open_image(Path(spec.reference_file)).header
        image.set_sform(grid.affine, int(header["sform_code"]) or "aligned")
        image.set_qform(grid.affine, int(header["qform_code"]))
        image.header.set_xyzt_units("mm", "sec")
        image.to_filename(file)
        self._results["grid_file"] = str(file)
        return runtime


class _ResampleMapsInputSpec(BaseInterfaceInputSpec):
    in_files = traits.Dict(traits.Str, File(exists=True), mandatory=True, desc="maps by key")
    keys = traits.List(traits.Str, mandatory=True, desc="those to bring, as far as they are there")
    counts = traits.List(traits.Str, desc="keys of maps that hold whole numbers")
    reference_file = File(exists=True, mandatory=True, desc="image whose grid is filled")
    transform_files = InputMultiObject(
        File(exists=True), desc="in the order in which a point of the grid passes them"
    )
    n_threads = traits.Int(1, usedefault=True, nohash=True, desc="threads")


class _ResampleMapsOutputSpec(TraitedSpec):
    out_files = traits.Dict(traits.Str, File, desc="maps by key")


class ResampleMaps(SimpleInterface):
    """Bring scalar maps onto another grid through all transforms, with one interpolation."""

    input_spec = _ResampleMapsInputSpec
    output_spec = _ResampleMapsOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        bound_threads(spec.n_threads)
        grid, transform = read_grid(spec.reference_file), read_chain(spec.transform_files)
        self._results["out_files"] = {}
        for key in [key for key in spec.keys if key in spec.in_files]:
            kind: Kind = "label" if key in (spec.counts or ()) else "linear"
            moved = resample(read_volume(spec.in_files[key]), transform, grid, kind=kind)
            self._results["out_files"][key] = write_array(
                moved.astype(np.float32), spec.reference_file, out / f"{key}.nii.gz"
            )
        return runtime
