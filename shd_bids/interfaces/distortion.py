"""Nodes that measure and picture the distortion by susceptibility."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from nibabel.affines import voxel_sizes
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    OutputMultiObject,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from shd_bids.dwi.distortion import (
    correct_image,
    distortion_measures,
    encode_on_grid,
    field_displacement_mm,
    leading_b0,
    resample_to_grid,
)
from shd_bids.dwi.field_estimation import check_encodings, estimate_field
from shd_bids.dwi.gradients import find_b0, read_mrtrix_gradients
from shd_bids.dwi.images import open_image, read_data
from shd_bids.dwi.mask import estimate_brain_mask
from shd_bids.dwi.shells import Shells
from shd_bids.dwi.transforms import PhaseEncoding
from shd_bids.dwi.unringing import remove_gibbs_ringing
from shd_bids.reports.figures.distortion import plot_distortion

from .fsl import run_topup
from .nifti import read_affine, read_array, read_mask, write_array
from .preproc_figures import FiguresOutputSpec

_ENCODING = traits.Tuple(traits.Enum(0, 1, 2), traits.Enum(1, -1), traits.Float)


class _PickB0InputSpec(BaseInterfaceInputSpec):
    dwi_file = File(exists=True, mandatory=True, desc="4-D image")
    gradients_file = File(exists=True, mandatory=True, desc="MRtrix3 table")
    b0_threshold = traits.Float(mandatory=True, desc="largest b-value that counts as b=0, s/mm²")
    phase_encodings = traits.List(
        _ENCODING, mandatory=True, desc="axis, sign, readout in s of every volume of the series"
    )
    reverse_files = traits.List(File(exists=True), desc="other images, 3-D or 4-D")
    reverse_bval_files = traits.List(
        traits.Str, desc="FSL b-values of each; empty text for an image that is all b=0"
    )
    reverse_encodings = traits.List(_ENCODING, desc="of each, by its own axes")
    slice_axis = traits.Range(
        0, 2, desc="image axis across the slices, to unring the other images as the series was"
    )


class _PickB0OutputSpec(TraitedSpec):
    b0_files = OutputMultiObject(File, desc="mean b=0 of each encoding; the first b=0's leads")
    b0_encodings = traits.List(_ENCODING, desc="of each, by the axes of the series")


class PickB0(SimpleInterface):
    """Average the leading b=0 volumes of each phase encoding, on the grid of the series."""

    input_spec = _PickB0InputSpec
    output_spec = _PickB0OutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        affine, dwi = read_affine(spec.dwi_file), read_array(spec.dwi_file)
        bvals = read_mrtrix_gradients(Path(spec.gradients_file)).bvals
        encodings = [PhaseEncoding(*encoding) for encoding in spec.phase_encodings]
        means = [
            (_as_tuple(encoding), dwi[..., volumes].mean(axis=3))
            for encoding, volumes in leading_b0(bvals <= spec.b0_threshold, encodings).items()
        ]
        others = zip(
            spec.reverse_files or [],
            spec.reverse_bval_files or [],
            spec.reverse_encodings or [],
            strict=True,
        )
        for name, bval_file, encoding in others:
            file, source = Path(name), read_affine(name)
            b0 = _mean_b0(file, bval_file, spec.b0_threshold)
            if isdefined(spec.slice_axis):
                b0 = remove_gibbs_ringing(b0[..., None], slice_axis=spec.slice_axis)[..., 0]
            on_grid = encode_on_grid(PhaseEncoding(*encoding), source, affine, source=file.name)
            image = resample_to_grid(b0, source, affine, dwi.shape[:3])
            means.append((_as_tuple(on_grid), image))
        self._results["b0_encodings"] = [encoding for encoding, _ in means]
        self._results["b0_files"] = [
            write_array(image, spec.dwi_file, out / f"b0_{number}.nii.gz")
            for number, (_, image) in enumerate(means)
        ]
        return runtime


def _mean_b0(file: Path, bval_file: str, b0_threshold: float) -> Float[np.ndarray, "x y z"]:
    data = np.atleast_3d(read_data(open_image(file), file))
    series = data.reshape(*data.shape[:3], -1)
    if not bval_file:
        return series.mean(axis=3)
    is_b0 = find_b0(Path(bval_file), file.name, series.shape[3], b0_threshold=b0_threshold)
    return series[..., is_b0].mean(axis=3)


class _EstimateFieldInputSpec(BaseInterfaceInputSpec):
    b0_files = InputMultiObject(File(exists=True), mandatory=True, desc="the first is the series'")
    phase_encodings = traits.List(_ENCODING, mandatory=True, desc="axis, sign, readout in s")
    method = traits.Enum("reverse-phase", "topup", mandatory=True, desc="what finds the field")


class _EstimateFieldOutputSpec(TraitedSpec):
    fieldmap_file = File(desc="off-resonance, Hz")
    displacement_file = File(desc="of the series, mm along the phase axis of its grid")
    b0_file = File(desc="mean of the corrected b=0 images")
    corrected_files = OutputMultiObject(File, desc="each b=0 image, corrected")
    mask_file = File(desc="brain in them")
    phase_encodings = traits.List(_ENCODING, desc="with the readout times that were used")
    measures = traits.Dict(desc="of the distortion and its correction, by name")
    found = traits.Dict(desc="what was found, in words")


class EstimateField(SimpleInterface):
    """Find the field that explains how the b=0 images differ, and correct them."""

    input_spec = _EstimateFieldInputSpec
    output_spec = _EstimateFieldOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out, like = self.inputs, Path(runtime.cwd), self.inputs.b0_files[0]
        before, affine = np.stack([read_array(file) for file in spec.b0_files]), read_affine(like)
        given = [PhaseEncoding(*encoding) for encoding in spec.phase_encodings]
        if spec.method == "topup":
            encodings, readout_known = check_encodings(before, given)
            topup = run_topup(before, affine, encodings, out)
            field, after, motion = topup.fieldmap_hz, topup.corrected, topup.motion
        else:
            found = estimate_field(before, affine, given)
            encodings, readout_known = found.phase_encodings, found.readout_known
            field, heads = found.fieldmap_hz, found.transforms
            after = np.stack(
                [
                    correct_image(image, field, encoding, affine, heads, number)
                    for number, (image, encoding) in enumerate(zip(before, encodings, strict=True))
                ]
            )
            motion = np.hstack([heads.translation_mm, heads.rotation_rad])
        b0 = after.mean(axis=0)
        x_mm, y_mm, z_mm = (float(mm) for mm in voxel_sizes(affine))
        one_shell = Shells(np.zeros(1), np.zeros(1, dtype=int))
        mask = estimate_brain_mask(b0[..., None], one_shell, (x_mm, y_mm, z_mm))
        displacement = field_displacement_mm(field, encodings[0], affine)
        moved = motion - motion[0]
        measures = distortion_measures(displacement, list(before), list(after), mask)
        self._results["measures"] = measures
        shift = np.linalg.norm(moved[:, :3], axis=1).max()
        turn = np.rad2deg(np.linalg.norm(moved[:, 3:], axis=1)).max()
        self._results["found"] = {
            "Distortion": f"corrected ({spec.method}) by {len(before)} b=0 images, "
            f"{measures['rms_displacement_mm']:.2g} mm (rms), at most "
            f"{measures['max_displacement_mm']:.2g} mm"
            + ("" if readout_known else "; readout time not known, so the field has no unit"),
            "Disagreement of opposite b=0 images": f"{measures['difference_before']:.1%} before, "
            f"{measures['difference_after']:.1%} after",
            "Movement between b=0 images": f"{shift:.2g} mm, {turn:.2g} degrees",
        }
        for name, data in (("fieldmap", field), ("displacement", displacement), ("b0", b0)):
            self._results[f"{name}_file"] = write_array(data, like, out / f"{name}.nii.gz")
        self._results["mask_file"] = write_array(mask, like, out / "mask.nii.gz")
        self._results["corrected_files"] = [
            write_array(image, like, out / f"corrected_{number}.nii.gz")
            for number, image in enumerate(after)
        ]
        self._results["phase_encodings"] = [_as_tuple(encoding) for encoding in encodings]
        return runtime


class _PlotDistortionInputSpec(BaseInterfaceInputSpec):
    b0_files = InputMultiObject(File(exists=True), mandatory=True, desc="uncorrected")
    corrected_files = InputMultiObject(File(exists=True), mandatory=True, desc="corrected")
    phase_encodings = traits.List(_ENCODING, mandatory=True, desc="of each")
    fieldmap_file = File(exists=True, mandatory=True, desc="off-resonance, Hz")
    mask_file = File(exists=True, mandatory=True, desc="brain mask")


class PlotDistortion(SimpleInterface):
    """Picture the first image and the one that is opposite to it before and after correction."""

    input_spec = _PlotDistortionInputSpec
    output_spec = FiguresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out_file = self.inputs, Path(runtime.cwd) / "distortion.svg"
        axis, sign, _ = spec.phase_encodings[0]
        signs = [one[1] if one[0] == axis else 0 for one in spec.phase_encodings]
        other = signs.index(-sign) if -sign in signs else 1
        before_a, before_b = (read_array(spec.b0_files[image]) for image in (0, other))
        after_a, after_b = (read_array(spec.corrected_files[image]) for image in (0, other))
        plot_distortion(
            before_a,
            before_b,
            after_a,
            after_b,
            read_array(spec.fieldmap_file),
            read_mask(spec.mask_file),
            read_affine(spec.fieldmap_file),
            out_file,
        )
        self._results["out_files"] = {"distortion": str(out_file)}
        return runtime


def _as_tuple(encoding: PhaseEncoding) -> tuple[int, int, float]:
    return encoding.axis, encoding.sign, encoding.readout_s
