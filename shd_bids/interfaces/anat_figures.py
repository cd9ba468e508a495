"""The nodes that picture the structural image, how it fits the series, and atlases."""

from pathlib import Path
from typing import Any

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    isdefined,
    traits,
)

from shd_bids.anat.brain import MASK_METHODS
from shd_bids.bids.files import write_text
from shd_bids.reports.figures.atlases import plot_atlases
from shd_bids.reports.figures.outlines import plot_outlines
from shd_bids.reports.fragments import alert, fact_table

from .nifti import read_affine, read_array, read_labels, read_mask
from .preproc_figures import FiguresOutputSpec


class _PlotAnatomyInputSpec(BaseInterfaceInputSpec):
    t1w_file = File(
        exists=True,
        requires=["mask_file", "tissue_file"],
        desc="T1w image without bias; without one it is not pictured",
    )
    mask_file = File(exists=True, desc="its brain")
    mask_method = traits.Enum(*MASK_METHODS, desc="where its brain comes from, if that is known")
    tissue_file = File(exists=True, desc="its tissues, 4-D")
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
            if not isdefined(image):
                continue
            files[name] = str(out / f"{name}.png")
            plot_outlines(
                read_array(image), read_mask(mask), read_affine(image), Path(files[name]),
                tissue=read_array(tissue),
            )  # fmt: skip
        if isdefined(spec.mask_method):
            files["brain"] = str(out / "brain.html")
            write_text(Path(files["brain"]), _describe_mask(spec.mask_method))
        self._results["out_files"] = files
        return runtime


def _describe_mask(method: str) -> str:
    facts = fact_table({"Brain mask": f"{method} ({MASK_METHODS[method]})"})
    if method != "dwi":
        return facts
    return facts + alert(
        "The brain mask of the T1w image is poor. It cannot tell whether the two images fit, and "
        "tissues near its rim are doubtful. Give a template with --anat-template.",
        "warning",
    )


class _PlotAtlasesInputSpec(BaseInterfaceInputSpec):
    b0_file = File(exists=True, mandatory=True, desc="mean of the b=0 volumes")
    mask_file = File(exists=True, mandatory=True, desc="brain mask")
    atlas_files = InputMultiObject(File(exists=True), mandatory=True, desc="on the same grid")
    names = InputMultiObject(traits.Str, mandatory=True, desc="of the atlases")


class PlotAtlases(SimpleInterface):
    """Colour the regions of atlases over the b=0 image."""

    input_spec = _PlotAtlasesInputSpec
    output_spec = FiguresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec = self.inputs
        file = Path(runtime.cwd) / "atlases.png"
        atlases = {
            name: read_labels(atlas_file)
            for name, atlas_file in zip(spec.names, spec.atlas_files, strict=True)
        }
        plot_atlases(
            read_array(spec.b0_file), read_mask(spec.mask_file), atlases,
            read_affine(spec.b0_file), file,
        )  # fmt: skip
        self._results["out_files"] = {"atlases": str(file)}
        return runtime
