"""Nodes that give the response of each tissue, from the data or from files."""

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, SimpleInterface, TraitedSpec, traits

from shd_bids.config import TISSUES
from shd_bids.errors import ResponseError
from shd_bids.response.average import match_intensity, relative_intensity
from shd_bids.response.estimate import estimate_responses, tissues_for_protocol
from shd_bids.response.io import Response, read_response, write_response

from .nifti import read_mask, write_array
from .series import SeriesInputSpec, load_gradients, load_series


class _EstimateResponseInputSpec(SeriesInputSpec):
    mask_file = File(exists=True, mandatory=True, desc="brain mask")
    lmax = traits.Int(8, usedefault=True, desc="largest degree of the white matter response")


class _ResponseOutputSpec(TraitedSpec):
    response_files = traits.Dict(traits.Str, File(exists=True), desc="MRtrix3 text by tissue")
    method = traits.Str(desc="how the responses came about, in a sentence")
    tissues_reason = traits.Str(desc="why these tissues, in a sentence")
    voxels_file = File(desc="voxels averaged, 1 WM, 2 GM, 3 CSF")
    voxel_counts = traits.Dict(traits.Str, traits.Int, desc="number of voxels by tissue")


class EstimateResponse(SimpleInterface):
    """Estimate one response per tissue and shell."""

    input_spec = _EstimateResponseInputSpec
    output_spec = _ResponseOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        dwi, gradients, shells = load_series(self.inputs)
        mask = read_mask(self.inputs.mask_file)
        estimate = estimate_responses(dwi, gradients, shells, mask, lmax=self.inputs.lmax)
        out, files = Path(runtime.cwd), {}
        label_image = np.zeros(mask.shape, dtype=np.uint8)
        for tissue, response in estimate.responses.items():
            write_response(response, out / f"response_{tissue}.txt")
            files[tissue] = str(out / f"response_{tissue}.txt")
            label_image[estimate.voxels[tissue]] = TISSUES.index(tissue) + 1
        self._results["response_files"] = files
        self._results["method"] = estimate.method
        self._results["tissues_reason"] = tissues_for_protocol(shells)[1]
        self._results["voxels_file"] = write_array(
            label_image, self.inputs.dwi_file, out / "voxels.nii.gz"
        )
        self._results["voxel_counts"] = {
            tissue: int(voxels.sum()) for tissue, voxels in estimate.voxels.items()
        }
        return runtime


class _LoadResponseInputSpec(SeriesInputSpec):
    files = traits.Dict(
        traits.Str, File(exists=True), mandatory=True, desc="MRtrix3 text by tissue"
    )
    match_intensity = traits.Bool(
        False, usedefault=True, desc="bring them to the brightness of the scan"
    )
    mask_file = File(exists=True, desc="brain mask, to tell that brightness")


class LoadResponse(SimpleInterface):
    """Read given responses and match them to the shells of the data."""

    input_spec = _LoadResponseInputSpec
    output_spec = _ResponseOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        _, shells = load_gradients(self.inputs)
        usable, _ = tissues_for_protocol(shells)
        out, given = Path(runtime.cwd), self.inputs.files
        if len(given) > shells.n_shell:
            raise ResponseError(
                f"--response gives {len(given)} tissues, but {shells.n_shell} shells (b=0 "
                f"included) tell only {len(usable)} apart. Give {' and '.join(usable)}."
            )
        responses = {
            tissue: read_response(Path(given[tissue]), tissue, shells.bvals)
            for tissue in TISSUES
            if tissue in given
        }
        names = ", ".join(Path(given[tissue]).name for tissue in responses)
        method = f"read from files ({names})"
        if self.inputs.match_intensity:
            own = self._own_responses()
            method += (
                f" and multiplied by {relative_intensity(own, responses):.4g}, the intensity of "
                "this scan beside theirs"
            )
            responses = match_intensity(responses, own)
        files = {tissue: out / f"response_{tissue}.txt" for tissue in responses}
        for tissue, response in responses.items():
            write_response(response, files[tissue])
        self._results["response_files"] = {tissue: str(file) for tissue, file in files.items()}
        self._results["method"] = method
        self._results["tissues_reason"] = f"responses of {' and '.join(files)} were given"
        self._results["voxel_counts"] = {}
        return runtime

    def _own_responses(self) -> dict[str, Response]:
        dwi, gradients, shells = load_series(self.inputs)
        mask = read_mask(self.inputs.mask_file)
        try:
            return estimate_responses(dwi, gradients, shells, mask).responses
        except ResponseError as error:
            raise ResponseError(
                "--response cannot be brought to the intensity of this scan, because the scan's "
                f"own responses cannot be estimated: {error} Give --response-intensity as-given "
                "to take the files as they are."
            ) from error
