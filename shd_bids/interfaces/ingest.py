"""Nodes that take over what another pipeline has preprocessed."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from shd_bids.dwi.gradients import check_volume_count, read_gradients, write_mrtrix_gradients
from shd_bids.dwi.images import load_dwi, open_image
from shd_bids.dwi.mask import check_mask
from shd_bids.errors import MaskError

from .nifti import read_mask, write_array

_SAME_PLACE_MM = 0.01


class _IngestInputSpec(BaseInterfaceInputSpec):
    dwi_file = File(exists=True, mandatory=True, desc="preprocessed 4-D image")
    gradient_files = InputMultiObject(
        File(exists=True), mandatory=True, desc=".b, or .bval and .bvec"
    )
    convention = traits.Enum("mrtrix", "image-axes", "fsl", mandatory=True, desc="of directions")
    mask_file = File(exists=True, desc="brain mask on the same grid")
    b0_threshold = traits.Float(mandatory=True, desc="largest b-value that counts as b=0, s/mm²")


class _IngestOutputSpec(TraitedSpec):
    dwi_file = File(desc="the same series, 32-bit, not resampled")
    gradients_file = File(desc="MRtrix3 table, scanner RAS+ axes")
    mask_file = File(desc="the same mask; undefined without one")
    b0_file = File(desc="mean of the b=0 volumes")


class IngestPreprocessed(SimpleInterface):
    """Check a preprocessed series and hand it on as it is, its gradients in scanner axes."""

    input_spec = _IngestInputSpec
    output_spec = _IngestOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        image = load_dwi(Path(spec.dwi_file))
        dwi, affine = np.asarray(image.dataobj), np.asarray(image.affine, dtype=np.float64)
        table = read_gradients(
            [Path(file) for file in spec.gradient_files], spec.convention, affine
        )
        check_volume_count(table, dwi.shape[3], Path(spec.dwi_file).name)
        write_mrtrix_gradients(table, out / "dwi.b")
        b0 = dwi[..., table.bvals <= spec.b0_threshold].mean(axis=3)
        self._results["gradients_file"] = str(out / "dwi.b")
        self._results["dwi_file"] = write_array(dwi, spec.dwi_file, out / "dwi.nii")
        self._results["b0_file"] = write_array(b0, spec.dwi_file, out / "b0.nii.gz")
        if isdefined(spec.mask_file):
            mask_file = Path(spec.mask_file)
            _check_place(mask_file, affine, Path(spec.dwi_file).name)
            mask = read_mask(mask_file)
            check_mask(mask, dwi.shape[:3], source=mask_file.name)
            self._results["mask_file"] = write_array(mask, spec.dwi_file, out / "mask.nii.gz")
        return runtime


def _check_place(mask_file: Path, affine: Float[np.ndarray, "4 4"], dwi_name: str) -> None:
    if not np.allclose(open_image(mask_file).affine, affine, atol=_SAME_PLACE_MM):
        raise MaskError(
            f"{mask_file.name} and {dwi_name} have different orientations or positions; expected "
            "a mask on the grid of the series. Resample it, or remove it to have one estimated."
        )
