"""Nodes that turn fibre orientation distributions into peaks, maps and streamlines."""

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

from shd_bids.config import TRACKING_METHODS, VALID_ENDS
from shd_bids.tractography.peaks import find_peaks, peaks_from_image, peaks_to_image
from shd_bids.tractography.rules import TrackingRules, default_step_mm
from shd_bids.tractography.scalars import afd_total, directionally_encoded_colour, gfa, nufo
from shd_bids.tractography.seeds import (
    SeedRegion,
    image_seeds,
    interface_seeds,
    white_matter_seeds,
)
from shd_bids.tractography.stopping import Anatomy, map_anatomy
from shd_bids.tractography.tracking import track_streamlines
from shd_bids.tractography.tractogram import write_tck

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
    tissue_file = File(
        exists=True, desc="white matter, grey matter and CSF of a T1w image on the same grid"
    )
    method = traits.Enum(*TRACKING_METHODS, mandatory=True, desc="how to follow")
    n_streamlines = traits.Int(desc="streamlines to keep")
    seeds_per_voxel = traits.Int(desc="or: seeds in each voxel", xor=["n_streamlines"])
    seed_from = traits.Enum("white-matter", "interface", "image", mandatory=True, desc="where from")
    seed_file = File(exists=True, desc="the image; a file, so that a changed one is noticed")
    step_mm = traits.Float(desc="length of a step; by the voxel size if not given")
    max_angle_deg = traits.Float(mandatory=True, desc="largest turn in one step")
    min_length_mm = traits.Float(mandatory=True, desc="shorter ones are dropped")
    max_length_mm = traits.Float(mandatory=True, desc="longer ones are dropped")
    valid_ends = traits.Enum(*VALID_ENDS, mandatory=True, desc="ends that are kept")
    random_seed = traits.Int(0, usedefault=True, desc="seed")
    n_threads = traits.Int(1, usedefault=True, nohash=True, desc="threads")


class _TrackOutputSpec(TraitedSpec):
    tck_file = File(desc="streamlines, TCK")
    n_streamlines = traits.Int(desc="streamlines in the file")
    settings = traits.Dict(desc="for the sidecar: what was done, as it came out")


class TrackStreamlines(SimpleInterface):
    """Follow fibre orientations through the white matter."""

    input_spec = _TrackInputSpec
    output_spec = _TrackOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, tck_file = self.inputs, Path(runtime.cwd) / "tracts.tck"
        fod_file = spec.fod_files["WM"]
        affine, fodf_sh = read_affine(fod_file), read_array(fod_file)
        rules = TrackingRules(
            step_mm=spec.step_mm if isdefined(spec.step_mm) else default_step_mm(affine),
            method=spec.method,
            max_angle_deg=spec.max_angle_deg,
            min_length_mm=spec.min_length_mm,
            max_length_mm=spec.max_length_mm,
            valid_ends=spec.valid_ends,
            random_seed=spec.random_seed,
        )
        anatomy = map_anatomy(
            fodf_sh,
            read_mask(spec.mask_file),
            {tissue: read_array(file) for tissue, file in spec.fraction_files.items()},
            read_array(spec.tissue_file) if isdefined(spec.tissue_file) else None,
        )
        batches = track_streamlines(
            fodf_sh,
            affine,
            anatomy,
            _seed_region(spec, anatomy, affine),
            rules,
            n_streamlines=_given(spec.n_streamlines),
            seeds_per_voxel=_given(spec.seeds_per_voxel),
            n_threads=spec.n_threads,
        )
        # MRtrix3's programs look for the key step_size.
        header = {"step_size": rules.step_mm, "method": rules.method, "seed": rules.random_seed}
        self._results["n_streamlines"] = write_tck(batches, tck_file, settings=header)
        self._results["tck_file"] = str(tck_file)
        self._results["settings"] = {
            "StepMillimetres": rules.step_mm,
            "TissueSource": anatomy.source,
            "ValidEnds": rules.valid_ends if anatomy.knows_grey_matter else "any",
        }
        return runtime


def _seed_region(spec: Any, anatomy: Anatomy, affine: np.ndarray) -> SeedRegion:
    if spec.seed_from == "white-matter":
        return white_matter_seeds(anatomy, affine)
    if spec.seed_from == "interface":
        return interface_seeds(anatomy, affine)
    file = spec.seed_file
    return image_seeds(read_array(file), read_affine(file), name=file)


def _given(value: Any) -> Any:
    return value if isdefined(value) else None
