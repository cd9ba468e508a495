"""The node that prepares tracts to be turned in the page."""

from pathlib import Path
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, isdefined, traits

from shd_bids.bids.files import write_text
from shd_bids.reports.figures.tractview import tract_view, view_fragment
from shd_bids.tractography.draw import draw_streamlines
from shd_bids.tractography.streamlines import Streamlines
from shd_bids.tractography.tractogram import read_batches

from .nifti import read_affine, read_mask
from .preproc_figures import FiguresOutputSpec

_N_SHOWN, _N_OF_BUNDLE = 4000, 300


class _PlotSceneInputSpec(BaseInterfaceInputSpec):
    tck_file = File(exists=True, mandatory=True, desc="streamlines")
    mask_file = File(exists=True, mandatory=True, desc="brain mask")
    bundle_files = traits.Dict(traits.Str, File(exists=True), desc="TCK by bundle")


class PlotScene(SimpleInterface):
    """Write streamlines, bundles and the brain's surface for the view that can be turned."""

    input_spec = _PlotSceneInputSpec
    output_spec = FiguresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, fragment_file = self.inputs, Path(runtime.cwd) / "scene3d.html"
        files = spec.bundle_files if isdefined(spec.bundle_files) else {}
        bundles = {label: _draw(file, _N_OF_BUNDLE) for label, file in files.items()}
        found = {label: lines for label, lines in bundles.items() if len(lines)}
        view = tract_view(
            _draw(spec.tck_file, _N_SHOWN),
            found,
            read_mask(spec.mask_file),
            read_affine(spec.mask_file),
        )
        write_text(fragment_file, view_fragment(view))
        self._results["out_files"] = {"scene3d": str(fragment_file)}
        return runtime


def _draw(file: str, n_most: int) -> Streamlines:
    return draw_streamlines(read_batches(Path(file)), n_most=n_most, random_seed=0).streamlines
