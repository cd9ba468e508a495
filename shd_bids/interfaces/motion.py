"""Nodes that follow the head and undo what moved or bent each volume."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from shd_bids.bids.files import write_text
from shd_bids.dwi.gradients import read_mrtrix_gradients, write_mrtrix_gradients
from shd_bids.dwi.motion import MotionCorrection, correct_motion
from shd_bids.dwi.resample import resample_series
from shd_bids.dwi.transforms import (
    PhaseEncoding,
    read_transforms,
    rotate_gradients,
    write_transforms,
)

from .nifti import read_affine, read_array, read_mask, write_array
from .series import SeriesInputSpec, load_series


class _DistortionInputSpec(BaseInterfaceInputSpec):
    phase_encodings = traits.List(
        traits.Tuple(traits.Int, traits.Int, traits.Float),
        mandatory=True,
        desc="axis (0, 1, 2), sign (1, -1) and total readout time (s) of each volume",
    )
    fieldmap_file = File(exists=True, desc="off-resonance in Hz on the grid of the series")


class _CorrectMotionInputSpec(SeriesInputSpec, _DistortionInputSpec):
    mask_file = File(exists=True, mandatory=True, desc="brain in the first b=0 volume")
    n_threads = traits.Int(1, usedefault=True, nohash=True, desc="threads")


class _CorrectMotionOutputSpec(TraitedSpec):
    dwi_file = File(desc="the series, not resampled, dropped slices replaced")
    transforms_file = File(desc="TSV, a row per volume: mm, radians, mm per mm")
    outliers_file = File(desc="TSV, volume and slice (from 0), z-score, whether it dropped")
    found = traits.Dict(desc="what was found, in words")
    summary_file = File(desc="JSON: passes, failed volumes, number of dropped slices")


class CorrectMotion(SimpleInterface):
    """Find head motion, eddy currents and dropped slices; replace the slices."""

    input_spec = _CorrectMotionInputSpec
    output_spec = _CorrectMotionOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        dwi, gradients, shells = load_series(spec)
        found = correct_motion(
            dwi,
            read_affine(spec.dwi_file),
            gradients,
            shells,
            read_mask(spec.mask_file),
            _encodings(spec),
            field_hz=_field(spec),
        )
        self._results["dwi_file"] = write_array(found.replaced, spec.dwi_file, out / "dwi.nii")
        write_transforms(found.transforms, out / "transforms.tsv")
        write_text(out / "outliers.tsv", _outlier_table(found))
        summary = {
            "passes": found.passes,
            "failed": {str(volume): why for volume, why in found.failed.items()},
            "n_outlier_slice": int(found.outliers.sum()),
        }
        write_text(out / "summary.json", json.dumps(summary, indent=2) + "\n")
        self._results["found"] = _in_words(found)
        for name in ("transforms.tsv", "outliers.tsv", "summary.json"):
            self._results[f"{Path(name).stem}_file"] = str(out / name)
        return runtime


class _ResampleDwiInputSpec(_DistortionInputSpec):
    dwi_file = File(exists=True, mandatory=True, desc="4-D image, not yet resampled")
    gradients_file = File(exists=True, mandatory=True, desc="MRtrix3 table, scanner RAS+ axes")
    transforms_file = File(exists=True, mandatory=True, desc="as CorrectMotion writes it")
    output_resolution = traits.Float(desc="edge of isotropic output voxels, mm")


class _ResampleDwiOutputSpec(TraitedSpec):
    dwi_file = File(desc="corrected series")
    gradients_file = File(desc="MRtrix3 table, turned back with the head")


class ResampleDwi(SimpleInterface):
    """Undo head motion, eddy currents and distortion in one interpolation."""

    input_spec = _ResampleDwiInputSpec
    output_spec = _ResampleDwiOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        transforms = read_transforms(Path(spec.transforms_file))
        resolution = spec.output_resolution
        corrected, affine = resample_series(
            read_array(spec.dwi_file),
            read_affine(spec.dwi_file),
            transforms,
            _encodings(spec),
            field_hz=_field(spec),
            resolution_mm=resolution if isdefined(resolution) else None,
        )
        grid = nib.Nifti1Image(np.zeros(corrected.shape[:3], np.uint8), affine)
        grid.header.set_xyzt_units("mm", "sec")
        nib.save(grid, out / "grid.nii.gz")
        like = out / "grid.nii.gz" if isdefined(resolution) else spec.dwi_file
        self._results["dwi_file"] = write_array(corrected, like, out / "dwi.nii")
        turned = rotate_gradients(read_mrtrix_gradients(Path(spec.gradients_file)), transforms)
        write_mrtrix_gradients(turned, out / "dwi.b")
        self._results["gradients_file"] = str(out / "dwi.b")
        return runtime


def _encodings(spec: Any) -> list[PhaseEncoding]:
    return [PhaseEncoding(*encoding) for encoding in spec.phase_encodings]


def _field(spec: Any) -> np.ndarray | None:
    return read_array(spec.fieldmap_file) if isdefined(spec.fieldmap_file) else None


def _in_words(found: MotionCorrection) -> dict[str, str]:
    moved = np.linalg.norm(found.transforms.translation_mm, axis=1).max()
    turned = np.rad2deg(np.abs(found.transforms.rotation_rad)).max()
    words = {
        "Head motion": f"corrected; at most {moved:.2g} mm and {turned:.2g} degrees from the first "
        "b=0 volume",
        "Slices with dropout": f"{int(found.outliers.sum())} replaced by their prediction",
    }
    if found.failed:
        listed = "; ".join(f"volume {volume}: {why}" for volume, why in found.failed.items())
        words["Not registered"] = listed
    return words


def _outlier_table(found: MotionCorrection) -> str:
    volume, level = np.indices(found.outliers.shape)
    table = pd.DataFrame(
        {
            "volume": volume.ravel(),
            "slice": level.ravel(),
            "z_score": found.z_scores.ravel(),
            "is_outlier": found.outliers.ravel().astype(int),
        }
    )
    return table.to_csv(sep="\t", index=False, na_rep="n/a", float_format="%.4g")


def read_outliers(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read what `CorrectMotion` wrote of the slices.

    Parameters
    ----------
    file
        Its ``outliers_file``.

    Returns
    -------
    z_scores, outliers
        Of shape (volume, slice); NaN where a slice holds too little brain.
    """
    table = pd.read_csv(file, sep="\t")
    shape = (table["volume"].max() + 1, table["slice"].max() + 1)
    ordered = table.sort_values(["volume", "slice"])
    scores, dropped = (
        ordered[name].to_numpy().reshape(shape) for name in ("z_score", "is_outlier")
    )
    return scores.astype(float), dropped > 0
