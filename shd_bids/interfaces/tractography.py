"""Nodes that turn fibre orientation distributions into peaks, maps and streamlines."""

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

from shd_bids.tractography.peaks import find_peaks, peaks_from_image, peaks_to_image
from shd_bids.tractography.scalars import afd_total, directionally_encoded_colour, gfa, nufo
from shd_bids.tractography.tracking import default_step_mm, track_probabilistic
from shd_bids.tractography.tractogram import density_map, read_tck, write_tck

from .nifti import read_affine, read_array, read_mask, write_array


class _FindPeaksInputSpec(BaseInterfaceInputSpec):
    fod_files = traits.Dict(
        traits.Str, File(exists=True), mandatory=True, desc="harmonics by tissue"
    )
    mask_file = File(exists=True, mandatory=True, desc="brain mask")
    n_peak = traits.Range(1, 20, value=5, usedefault=True, desc="most peaks in a voxel")


class _FindPeaksOutputSpec(TraitedSpec):
    peaks_file = File(desc="three components per peak, scaled by its amplitude")


class FindPeaks(SimpleInterface):
    """Find the fibre directions of every voxel."""

    input_spec = _FindPeaksInputSpec
    output_spec = _FindPeaksOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        fod_file = self.inputs.fod_files["WM"]
        mask = read_mask(self.inputs.mask_file)
        peaks = find_peaks(read_array(fod_file), mask, n_peak=self.inputs.n_peak)
        self._results["peaks_file"] = write_array(
            peaks_to_image(peaks), fod_file, Path(runtime.cwd) / "peaks.nii.gz"
        )
        return runtime


class _ComputeMapsInputSpec(BaseInterfaceInputSpec):
    fod_files = traits.Dict(
        traits.Str, File(exists=True), mandatory=True, desc="harmonics by tissue"
    )
    peaks_file = File(exists=True, mandatory=True, desc="peaks of the same harmonics")
    rmse_file = File(exists=True, mandatory=True, desc="residual, passed on")
    mask_file = File(exists=True, mandatory=True, desc="brain mask")


class _ComputeMapsOutputSpec(TraitedSpec):
    map_files = traits.Dict(
        traits.Str, File(exists=True), desc="image by parameter: peaks, rmse, afd, nufo, gfa, dec"
    )


class ComputeMaps(SimpleInterface):
    """Compute the maps of one number, or one colour, per voxel."""

    input_spec = _ComputeMapsInputSpec
    output_spec = _ComputeMapsOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        fod_file = self.inputs.fod_files["WM"]
        fodf_sh, mask = read_array(fod_file), read_mask(self.inputs.mask_file)
        maps = {
            "afd": afd_total(fodf_sh),
            "gfa": gfa(fodf_sh),
            "nufo": nufo(peaks_from_image(read_array(self.inputs.peaks_file))),
            "dec": directionally_encoded_colour(fodf_sh, mask),
        }
        files = {
            name: write_array(data, fod_file, Path(runtime.cwd) / f"{name}.nii.gz")
            for name, data in maps.items()
        }
        given = {"peaks": self.inputs.peaks_file, "rmse": self.inputs.rmse_file}
        self._results["map_files"] = given | files
        return runtime


class _TrackInputSpec(BaseInterfaceInputSpec):
    fod_files = traits.Dict(
        traits.Str, File(exists=True), mandatory=True, desc="harmonics by tissue"
    )
    fraction_files = traits.Dict(
        traits.Str, File(exists=True), mandatory=True, desc="volume fraction by tissue"
    )
    mask_file = File(exists=True, mandatory=True, desc="brain mask")
    n_streamlines = traits.Int(mandatory=True, desc="streamlines to keep")
    step_mm = traits.Float(desc="length of a step; by the voxel size if not given")
    max_angle_deg = traits.Float(mandatory=True, desc="largest turn in one step")
    random_seed = traits.Int(0, usedefault=True, desc="seed")
    n_threads = traits.Int(1, usedefault=True, nohash=True, desc="threads")


class _TrackOutputSpec(TraitedSpec):
    track_files = traits.Dict(
        traits.Str, File(exists=True), desc="tractogram (TCK) and tdi, the density map"
    )
    n_streamlines = traits.Int(desc="streamlines in the file")
    step_mm = traits.Float(desc="length of a step")


class TrackStreamlines(SimpleInterface):
    """Follow fibre orientations through the white matter."""

    input_spec = _TrackInputSpec
    output_spec = _TrackOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        fod_file = spec.fod_files["WM"]
        affine, fodf_sh = read_affine(fod_file), read_array(fod_file)
        settings: dict[str, Any] = {
            "step_mm": spec.step_mm if isdefined(spec.step_mm) else default_step_mm(affine),
            "max_angle_deg": spec.max_angle_deg,
            "random_seed": spec.random_seed,
        }
        streamlines = track_probabilistic(
            fodf_sh,
            affine,
            read_mask(spec.mask_file),
            {tissue: read_array(file) for tissue, file in spec.fraction_files.items()},
            n_streamlines=spec.n_streamlines,
            n_threads=spec.n_threads,
            **settings,
        )
        tck_file = out / "tracts.tck"
        self._results["step_mm"] = settings["step_mm"]
        self._results["n_streamlines"] = write_tck(streamlines, tck_file, settings=settings)
        density = density_map(read_tck(tck_file), affine, fodf_sh.shape[:3])
        self._results["track_files"] = {
            "tractogram": str(tck_file),
            "tdi": write_array(density, fod_file, out / "tdi.nii.gz"),
        }
        return runtime
