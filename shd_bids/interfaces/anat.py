"""Nodes that work on the structural image and bring things between its space and others."""

from pathlib import Path
from typing import Any

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
from scipy import ndimage

from shd_bids.anat.bias import correct_bias
from shd_bids.anat.brain import (
    MASK_METHODS,
    dice,
    is_skull_stripped,
    mask_from_dwi,
    mask_from_template,
    stripped_mask,
)
from shd_bids.anat.normalisation import normalise
from shd_bids.anat.registration import register
from shd_bids.anat.resampling import resample
from shd_bids.anat.t1w import load_t1w
from shd_bids.anat.tissue import segment_tissue
from shd_bids.anat.transforms import from_matrix, read_transform, to_matrix, write_transform
from shd_bids.anat.volume import Volume, bound_threads
from shd_bids.config import TISSUES

from .nifti import read_affine, read_array, read_labels, read_mask, write_array
from .volumes import read_chain, read_grid, read_volume

_MASK_MARGIN_MM = 6.0


class _ThreadedInputSpec(BaseInterfaceInputSpec):
    n_threads = traits.Int(1, usedefault=True, nohash=True, desc="threads")


class _PrepareT1wInputSpec(_ThreadedInputSpec):
    t1w_file = File(exists=True, mandatory=True, desc="T1w image as acquired")


class _PrepareT1wOutputSpec(TraitedSpec):
    t1w_file = File(desc="T1w image without bias")


class PrepareT1w(SimpleInterface):
    """Check the T1w image and divide it by its bias field."""

    input_spec = _PrepareT1wInputSpec
    output_spec = _PrepareT1wOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        bound_threads(self.inputs.n_threads)
        file = Path(self.inputs.t1w_file)
        corrected, _ = correct_bias(load_t1w(file))
        self._results["t1w_file"] = write_array(
            corrected.data, file, Path(runtime.cwd) / "t1w.nii.gz"
        )
        return runtime


class _RegisterToDwiInputSpec(_ThreadedInputSpec):
    t1w_file = File(exists=True, mandatory=True, desc="T1w image without bias")
    b0_file = File(exists=True, mandatory=True, desc="mean of the b=0 volumes")
    dwi_mask_file = File(exists=True, mandatory=True, desc="brain mask of the series")


class _RegisterToDwiOutputSpec(TraitedSpec):
    t1w_to_dwi_file = File(desc="rigid transform, ITK text")
    dwi_to_t1w_file = File(desc="its inverse")


class RegisterToDwi(SimpleInterface):
    """Find where the T1w image lies in the diffusion images."""

    input_spec = _RegisterToDwiInputSpec
    output_spec = _RegisterToDwiOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        bound_threads(spec.n_threads)
        # a bias left on one image shifts the optimum
        b0, _ = correct_bias(read_volume(spec.b0_file))
        mask = read_mask(spec.dwi_mask_file)
        near = ndimage.distance_transform_edt(~mask, sampling=b0.grid.voxel_mm) < _MASK_MARGIN_MM
        matrix = register(b0, read_volume(spec.t1w_file), mask=near)
        for name, transform in (
            ("t1w_to_dwi", from_matrix(matrix)),
            ("dwi_to_t1w", from_matrix(np.linalg.inv(matrix))),
        ):
            self._results[f"{name}_file"] = str(write_transform(transform, out / f"{name}.txt"))
        return runtime


class _SkullStripInputSpec(_ThreadedInputSpec):
    t1w_file = File(exists=True, mandatory=True, desc="T1w image without bias")
    template_file = File(exists=True, desc="template's T1w image")
    template_mask_file = File(exists=True, desc="its brain; what is not 0 by default")
    dwi_mask_file = File(exists=True, desc="brain mask of the series, used without template")
    t1w_to_dwi_file = File(exists=True, desc="transform, used without template")


class _SkullStripOutputSpec(TraitedSpec):
    mask_file = File(desc="brain mask of the T1w image")
    method = traits.Enum(*MASK_METHODS, desc="where it comes from; dwi is poor")


class SkullStrip(SimpleInterface):
    """Find the brain in the T1w image: as given, else by the template, else by the series."""

    input_spec = _SkullStripInputSpec
    output_spec = _SkullStripOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec = self.inputs
        bound_threads(spec.n_threads)
        t1w = read_volume(spec.t1w_file)
        if is_skull_stripped(t1w):
            method, mask = "given", stripped_mask(t1w)
        elif isdefined(spec.template_file):
            method = "template"
            mask = mask_from_template(t1w, read_volume(spec.template_file), _template_mask(spec))
        else:
            method, dwi_mask = "dwi", spec.dwi_mask_file
            carried = Volume(read_mask(dwi_mask), read_affine(dwi_mask))
            matrix = to_matrix(read_transform(Path(spec.t1w_to_dwi_file)))
            mask = mask_from_dwi(t1w, carried, matrix)
        self._results["method"] = method
        self._results["mask_file"] = write_array(
            mask, spec.t1w_file, Path(runtime.cwd) / "mask.nii.gz"
        )
        return runtime


class _SegmentTissueInputSpec(BaseInterfaceInputSpec):
    t1w_file = File(exists=True, mandatory=True, desc="T1w image without bias")
    mask_file = File(exists=True, mandatory=True, desc="brain mask")


class _SegmentTissueOutputSpec(TraitedSpec):
    tissue_file = File(desc="probabilities of white matter, grey matter and fluid, 4-D")


class SegmentTissue(SimpleInterface):
    """Find white matter, grey matter and fluid in the T1w image."""

    input_spec = _SegmentTissueInputSpec
    output_spec = _SegmentTissueOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        file = self.inputs.t1w_file
        maps = segment_tissue(read_array(file), read_mask(self.inputs.mask_file))
        self._results["tissue_file"] = write_array(maps, file, Path(runtime.cwd) / "tissue.nii.gz")
        return runtime


class _RegisterToTemplateInputSpec(_ThreadedInputSpec):
    t1w_file = File(exists=True, mandatory=True, desc="T1w image without bias")
    mask_file = File(exists=True, mandatory=True, desc="its brain")
    template_file = File(exists=True, mandatory=True, desc="template's T1w image")
    template_mask_file = File(exists=True, desc="its brain; what is not 0 by default")


class _RegisterToTemplateOutputSpec(TraitedSpec):
    t1w_to_template_file = File(desc="affine and displacement, ITK composite .h5")
    template_to_t1w_file = File(desc="its inverse")


class RegisterToTemplate(SimpleInterface):
    """Fit the brain of the T1w image to the template's."""

    input_spec = _RegisterToTemplateInputSpec
    output_spec = _RegisterToTemplateOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        bound_threads(spec.n_threads)
        t1w, template = read_volume(spec.t1w_file), read_volume(spec.template_file)
        mask = read_mask(spec.mask_file)
        brain = np.where(_template_mask(spec), template.data, np.float32(0))
        found = normalise(
            Volume(np.where(mask, t1w.data, np.float32(0)), t1w.affine),
            Volume(brain, template.affine),
        )
        for name, transform in (
            ("t1w_to_template", found.to_template()),
            ("template_to_t1w", found.from_template()),
        ):
            self._results[f"{name}_file"] = str(write_transform(transform, out / f"{name}.h5"))
        return runtime


class _ResampleInputSpec(_ThreadedInputSpec):
    in_file = File(exists=True, mandatory=True, desc="image, 3-D or 4-D, in A")
    reference_file = File(exists=True, mandatory=True, desc="image in B whose grid is filled")
    transform_files = InputMultiObject(
        File(exists=True), desc="in the order in which a point of B passes them; A is B by default"
    )
    kind = traits.Enum("linear", "cubic", "label", usedefault=True, desc="interpolation")


class _ResampleOutputSpec(TraitedSpec):
    out_file = File(desc="image in B")


class ResampleImage(SimpleInterface):
    """Bring an image onto another grid through all transforms, with one interpolation."""

    input_spec = _ResampleInputSpec
    output_spec = _ResampleOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec = self.inputs
        bound_threads(spec.n_threads)
        read = read_labels if spec.kind == "label" else read_array
        data, affine = read(spec.in_file), read_affine(spec.in_file)
        target = read_grid(spec.reference_file)
        transform = read_chain(spec.transform_files)
        volumes = [
            resample(Volume(volume, affine), transform, target, kind=spec.kind)
            for volume in np.moveaxis(data if data.ndim == 4 else data[..., None], 3, 0)
        ]
        moved = volumes[0] if data.ndim == 3 else np.stack(volumes, axis=3)
        if spec.kind == "label" and moved.min() >= 0 and moved.max() < 256:
            moved = moved.astype(np.uint8)
        self._results["out_file"] = write_array(
            moved, spec.reference_file, Path(runtime.cwd) / "resampled.nii.gz"
        )
        return runtime


class _SplitTissueInputSpec(BaseInterfaceInputSpec):
    tissue_file = File(exists=True, mandatory=True, desc="probabilities, 4-D")


class _SplitTissueOutputSpec(TraitedSpec):
    tissue_files = traits.Dict(traits.Str, File, desc="3-D, by tissue")


class SplitTissue(SimpleInterface):
    """Give each tissue a file of its own, as BIDS names them."""

    input_spec = _SplitTissueInputSpec
    output_spec = _SplitTissueOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        file, out = self.inputs.tissue_file, Path(runtime.cwd)
        maps = np.moveaxis(read_array(file), 3, 0)
        self._results["tissue_files"] = {
            tissue: write_array(one, file, out / f"{tissue}.nii.gz")
            for tissue, one in zip(TISSUES, maps, strict=True)
        }
        return runtime


class _CompareMasksInputSpec(BaseInterfaceInputSpec):
    mask_file = File(exists=True, mandatory=True, desc="brain mask")
    other_file = File(exists=True, mandatory=True, desc="brain mask on the same grid")


class _CompareMasksOutputSpec(TraitedSpec):
    dice_distance = traits.Float(desc="0 for equal masks, 1 for masks apart")


class CompareMasks(SimpleInterface):
    """Say how little two masks overlap, as QSIPrep's ``t1_dice_distance`` does."""

    input_spec = _CompareMasksInputSpec
    output_spec = _CompareMasksOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        overlap = dice(read_mask(self.inputs.mask_file), read_mask(self.inputs.other_file))
        self._results["dice_distance"] = 1.0 - overlap
        return runtime


def _template_mask(spec: Any) -> np.ndarray:
    if isdefined(spec.template_mask_file):
        return read_mask(spec.template_mask_file)
    return read_mask(spec.template_file)
