"""The node that takes over the tissues that another pipeline has found."""

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

from shd_bids.anat.resampling import regrid
from shd_bids.anat.tissue import tissue_of_labels
from shd_bids.anat.volume import Volume
from shd_bids.dwi.images import open_image, read_data

from .nifti import read_affine, read_mask, write_array
from .volumes import read_grid


class _TakeOverTissueInputSpec(BaseInterfaceInputSpec):
    tissue_files = InputMultiObject(
        File(exists=True),
        mandatory=True,
        desc="one segmentation, or probabilities of white matter, grey matter and fluid",
    )
    labels = traits.Dict(traits.Str, traits.Int, desc="numbers of the tissues in a segmentation")
    mask_file = File(exists=True, desc="brain mask; where there is tissue by default")
    reference_file = File(exists=True, mandatory=True, desc="image whose grid is filled")


class _TakeOverTissueOutputSpec(TraitedSpec):
    tissue_file = File(desc="white matter, grey matter and fluid on that grid, 4-D, 0 to 1")
    mask_file = File(desc="brain on that grid")


class TakeOverTissue(SimpleInterface):
    """Bring tissues onto a grid in their own space; a voxel holds the share of each label in it."""

    input_spec = _TakeOverTissueInputSpec
    output_spec = _TakeOverTissueOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        first, *others = (_read_volume(Path(file)) for file in spec.tissue_files)
        affine = read_affine(spec.tissue_files[0])
        if others:
            maps = np.stack([first, *others], axis=3)
        else:
            name = Path(spec.tissue_files[0]).name
            maps = tissue_of_labels(first, spec.labels, source=name)
        grid = read_grid(spec.reference_file)
        tissue = np.stack([regrid(Volume(one, affine), grid) for one in np.moveaxis(maps, 3, 0)], 3)
        if isdefined(spec.mask_file):
            given = Volume(read_mask(spec.mask_file), read_affine(spec.mask_file))
            mask = regrid(given, grid, kind="label") > 0
        else:
            mask = tissue.sum(axis=3) >= 0.5
        for what, data in (("tissue", tissue), ("mask", mask)):
            file = out / f"{what}.nii.gz"
            self._results[f"{what}_file"] = write_array(data, spec.reference_file, file)
        return runtime


def _read_volume(file: Path) -> np.ndarray:
    return np.squeeze(read_data(open_image(file), file))
