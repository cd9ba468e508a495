"""Nodes that write tractograms in other formats and map where their streamlines run."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Num
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from shd_bids.config import TRACTOGRAM_FORMATS
from shd_bids.tractography.grid import Grid
from shd_bids.tractography.maps import map_streamlines
from shd_bids.tractography.tractogram import convert, read_batches
from shd_bids.tractography.weights import read_weights

from .nifti import write_array


class _ConvertTractogramInputSpec(BaseInterfaceInputSpec):
    tractogram_file = File(exists=True, mandatory=True, desc="TCK, TRX or TRK")
    formats = traits.List(
        traits.Enum(*TRACTOGRAM_FORMATS), mandatory=True, desc="TCK only if it is that already"
    )
    reference_file = File(exists=True, mandatory=True, desc="image on the grid of the series")
    weights_file = File(exists=True, desc="one weight per streamline, TSV")


class _ConvertTractogramOutputSpec(TraitedSpec):
    tractogram_files = traits.Dict(traits.Str, File(exists=True), desc="by format")


class ConvertTractogram(SimpleInterface):
    """Write a tractogram in the formats that were asked for."""

    input_spec = _ConvertTractogramInputSpec
    output_spec = _ConvertTractogramOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec = self.inputs
        file = Path(spec.tractogram_file)
        weights = None
        if isdefined(spec.weights_file):
            weights = read_weights(Path(spec.weights_file))
        files = {file.suffix[1:]: file}
        for kind in set(spec.formats) - set(files):
            files[kind] = Path(runtime.cwd) / f"{file.stem}.{kind}"
            convert(file, files[kind], _grid(spec.reference_file), weights=weights)
        self._results["tractogram_files"] = {kind: str(files[kind]) for kind in spec.formats}
        return runtime


class _MapStreamlinesInputSpec(BaseInterfaceInputSpec):
    tractogram_file = File(exists=True, mandatory=True, desc="TCK, TRX or TRK")
    reference_file = File(exists=True, mandatory=True, desc="image on the grid of the series")
    density_voxel_mm = traits.Float(
        desc="edge of the voxels of the finer density map; half of the smallest if not given"
    )


class _MapStreamlinesOutputSpec(TraitedSpec):
    map_files = traits.Dict(traits.Str, File(exists=True), desc="tdi, ends, meanlength, tdihighres")


class MapStreamlines(SimpleInterface):
    """Count the streamlines that pass and end in each voxel, and average their length."""

    input_spec = _MapStreamlinesInputSpec
    output_spec = _MapStreamlinesOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        grid = _grid(spec.reference_file)
        asked = spec.density_voxel_mm
        fine = grid.at(asked if isdefined(asked) else grid.smallest_mm / 2)
        maps = map_streamlines(read_batches(Path(spec.tractogram_file)), grid, fine)
        named = {"tdi": maps.density, "ends": maps.ends, "meanlength": maps.mean_length_mm}
        files = {
            name: write_array(data, spec.reference_file, out / f"{name}.nii.gz")
            for name, data in named.items()
        }
        files["tdihighres"] = _write_on(
            fine, maps.fine_density, spec.reference_file, out / "tdihighres.nii.gz"
        )
        self._results["map_files"] = files
        return runtime


def _grid(file: str) -> Grid:
    """Return the voxels of an image, of a series those of its volumes."""
    image: Any = nib.load(file)
    x, y, z = image.shape[:3]
    return Grid(np.asarray(image.affine, dtype=float), (x, y, z))


def _write_on(grid: Grid, data: Num[np.ndarray, "x y z"], like: str, file: Path) -> str:
    """Write an array on another grid in the same world as an image."""
    reference: Any = nib.load(like)
    image = nib.Nifti1Image(data, grid.affine)
    image.header.set_xyzt_units(*reference.header.get_xyzt_units())
    image.set_sform(grid.affine, int(reference.header["sform_code"]))
    image.set_qform(grid.affine, int(reference.header["qform_code"]))
    image.to_filename(file)
    return str(file.absolute())
