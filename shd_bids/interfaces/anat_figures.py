"""The node that pictures the structural image and how it fits the series."""

from pathlib import Path
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface

from shd_bids.reports.figures.tissue_outlines import plot_tissue_outlines

from .nifti import read_affine, read_array, read_mask
from .preproc_figures import FiguresOutputSpec


class _PlotAnatomyInputSpec(BaseInterfaceInputSpec):
    t1w_file = File(exists=True, mandatory=True, desc="T1w image without bias")
    mask_file = File(exists=True, mandatory=True, desc="its brain")
    tissue_file = File(exists=True, mandatory=True, desc="its tissues, 4-D")
    b0_file = File(exists=True, mandatory=True, desc="mean of the b=0 volumes")
    mask_dwi_file = File(exists=True, mandatory=True, desc="T1w brain mask on the series' grid")
    tissue_dwi_file = File(exists=True, mandatory=True, desc="tissues on the series' grid")


class PlotAnatomy(SimpleInterface):
    """Outline brain and tissues of the T1w image over itself and over the b=0 image."""

    input_spec = _PlotAnatomyInputSpec
    output_spec = FiguresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        files = {}
        for name, image, mask, tissue in (
            ("anatomy", spec.t1w_file, spec.mask_file, spec.tissue_file),
            ("coregistration", spec.b0_file, spec.mask_dwi_file, spec.tissue_dwi_file),
        ):
            files[name] = str(out / f"{name}.png")
            plot_tissue_outlines(
                read_array(image), read_mask(mask), read_array(tissue), read_affine(image),
                Path(files[name]),
            )  # fmt: skip
        self._results["out_files"] = files
        return runtime
