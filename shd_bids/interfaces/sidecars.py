"""The nodes that write what stands beside the data: which settings and responses made a file."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from shd_bids import __version__
from shd_bids.bids.files import gzip_trailer
from shd_bids.bids.sidecars import (
    fodf_sidecar,
    generic_sidecar,
    model_fields,
    model_sidecar,
    response_sidecar,
    tractogram_sidecar,
)
from shd_bids.response.io import Response, read_response

from .series import load_gradients

MAP_DESCRIPTIONS = {
    "peaks": (
        "Fibre directions in scanner RAS+ axes, largest first: three components per peak, scaled "
        "by its amplitude; NaN where there is no more.",
        "1",
    ),
    "rmse": ("Root mean squared residual over the b=0 signal of the WM response.", "1"),
    "afd": ("Total apparent fibre density: integral of the fODF.", "1"),
    "nufo": ("Number of fibre orientations.", "1"),
    "gfa": ("Generalised fractional anisotropy of the fODF.", "1"),
    "dec": ("Directionally encoded colour of the fODF: red, green, blue.", "1"),
}
_TRACK_MAPS = {
    "tdi": ("Number of streamlines that pass through each voxel.", "1"),
    "tdihighres": ("Number of streamlines that pass through each voxel of a finer grid.", "1"),
    "ends": ("Number of streamlines that begin or end in each voxel.", "1"),
    "meanlength": ("Mean length of the streamlines that pass through each voxel.", "mm"),
}
_ENCODINGS: dict[str, dict[str, Any]] = {
    "peaks": {
        "OrientationEncoding": {"EncodingAxis": 3, "Reference": "xyz", "Type": "3vector"},
        "AntipodalSymmetry": True,
    },
    "dec": {"OrientationEncoding": {"EncodingAxis": 3, "Reference": "xyz", "Type": "dec"}},
}

_HALF_EDGE = "half the smallest edge of the series' voxels"


class _GradientsInputSpec(BaseInterfaceInputSpec):
    gradients_file = File(exists=True, mandatory=True, desc="MRtrix3 table")
    b0_threshold = traits.Float(mandatory=True, desc="largest b-value that counts as b=0")
    shell_tolerance = traits.Float(mandatory=True, desc="b-values this close are one shell")
    response_files = traits.Dict(
        traits.Str, File(exists=True), mandatory=True, desc="MRtrix3 text by tissue"
    )
    sources = traits.List(traits.Str, mandatory=True, desc="BIDS URIs of series and mask")
    methods = traits.Str(desc="what was done, for the methods of a run that goes on from here")
    series_file = File(exists=True, desc="the series as it is saved")
    mask_file = File(exists=True, desc="the brain mask as it is saved")


class _DescribeResponseInputSpec(_GradientsInputSpec):
    method = traits.Str(mandatory=True, desc="how the responses came about")
    voxel_counts = traits.Dict(traits.Str, traits.Int, desc="voxels averaged by tissue")
    given_uris = traits.Dict(
        traits.Str, traits.List(traits.Str), desc="of responses that were not estimated, by tissue"
    )


class _SidecarsOutputSpec(TraitedSpec):
    sidecars = traits.Dict(traits.Str, traits.Dict, desc="JSON content by key")


class DescribeResponse(SimpleInterface):
    """Describe the response of each tissue."""

    input_spec = _DescribeResponseInputSpec
    output_spec = _SidecarsOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        counts, given = self.inputs.voxel_counts or {}, self.inputs.given_uris or {}
        told = _tell_next_run(self.inputs)
        self._results["sidecars"] = {
            tissue: response_sidecar(
                tissue=tissue,
                method=self.inputs.method,
                bvals=response.bvals.tolist(),
                coefficients=response.coefficients.tolist(),
                sources=given.get(tissue, self.inputs.sources),
                version=__version__,
                n_voxel=counts.get(tissue),
            )
            | told
            for tissue, response in _responses(self.inputs).items()
        }
        return runtime


class _DescribeModelInputSpec(_GradientsInputSpec):
    model = traits.Str(mandatory=True, desc="as in file names")
    fod_files = traits.Dict(traits.Str, File(exists=True), mandatory=True, desc="by tissue")
    summary_file = File(exists=True, mandatory=True, desc="what was done, JSON")
    history_file = File(exists=True, desc="course of the training, JSON")
    response_uris = traits.Dict(traits.Str, traits.Str, mandatory=True, desc="by tissue")
    fod_uris = traits.Dict(traits.Str, traits.Str, mandatory=True, desc="by tissue")


class _DescribeModelOutputSpec(TraitedSpec):
    fod_sidecars = traits.Dict(traits.Str, traits.Dict, desc="by tissue")
    fraction_sidecars = traits.Dict(traits.Str, traits.Dict, desc="by tissue")
    map_sidecars = traits.Dict(traits.Str, traits.Dict, desc="by parameter")
    weights_sidecars = traits.Dict(traits.Str, traits.Dict, desc="of the network weights")


class DescribeModel(SimpleInterface):
    """Describe all images of one model, and its weights."""

    input_spec = _DescribeModelInputSpec
    output_spec = _DescribeModelOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec = self.inputs
        settings = json.loads(Path(spec.summary_file).read_text(encoding="utf-8"))
        seed, lmax = settings.get("random_seed"), int(settings["lmax"])
        responses, lobe = _responses(spec), settings.pop("fibre_lobe", None)
        said: dict[str, Any] = {"version": __version__, "settings": settings, "random_seed": seed}
        fit_sources = [*spec.sources, *(spec.response_uris[tissue] for tissue in responses)]
        fods = [spec.fod_uris[tissue] for tissue in spec.fod_files]
        self._results["fod_sidecars"] = {
            tissue: fodf_sidecar(
                model=spec.model,
                tissue=tissue,
                lmax=lmax if tissue == "WM" else 0,
                response_bvals=responses[tissue].bvals.tolist(),
                response_coefficients=responses[tissue].coefficients.tolist(),
                sources=fit_sources,
                fibre_lobe=lobe if tissue == "WM" else None,
                **said,
            )
            | _tell_next_run(spec)
            for tissue in spec.fod_files
        }
        describe: Callable[..., dict[str, Any]] = partial(generic_sidecar, **said)
        self._results["fraction_sidecars"] = {
            tissue: model_fields(spec.model)
            | describe(description=f"Volume fraction of {tissue}, 0 to 1.", units="1", sources=fods)
            for tissue in ("WM", "GM", "CSF")
        }
        map_sources = dict.fromkeys(MAP_DESCRIPTIONS, fods[:1])
        map_sources["rmse"] = [*fods, *fit_sources]
        self._results["map_sidecars"] = {
            name: model_fields(spec.model)
            | _ENCODINGS.get(name, {})
            | describe(description=description, units=units, sources=map_sources[name])
            for name, (description, units) in MAP_DESCRIPTIONS.items()
        }
        self._results["weights_sidecars"] = {
            "weights": model_sidecar(
                model=spec.model,
                lmax=lmax,
                tissues=list(spec.response_files),
                shell_bvals=next(iter(responses.values())).bvals.tolist(),
                sources=fit_sources,
                training=_read_history(spec.history_file),
                **said,
            )
        }
        return runtime


class _DescribeTractogramInputSpec(BaseInterfaceInputSpec):
    model = traits.Str(mandatory=True, desc="that was tracked, as in file names")
    method = traits.Str(mandatory=True, desc="how streamlines were followed")
    n_streamlines = traits.Int(mandatory=True, desc="streamlines in the file")
    settings = traits.Dict(mandatory=True, desc="what was asked for")
    found = traits.Dict(mandatory=True, desc="what came out")
    random_seed = traits.Int(mandatory=True, desc="seed")
    sources = traits.List(traits.Str, mandatory=True, desc="BIDS URIs, harmonics first")
    tractogram_sources = traits.List(traits.Str, mandatory=True, desc="BIDS URI of the tractogram")
    fine_voxel_mm = traits.Float(desc="edge of the finer map; half of the smallest if not given")


class DescribeTractogram(SimpleInterface):
    """Describe the tractogram and the maps of its streamlines."""

    input_spec = _DescribeTractogramInputSpec
    output_spec = _SidecarsOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec = self.inputs
        made = {"TractographyMethod": spec.method, "StreamlineCount": spec.n_streamlines}
        sidecars = {
            "tractogram": tractogram_sidecar(
                method=spec.method,
                n_streamlines=spec.n_streamlines,
                sources=spec.sources,
                version=__version__,
                settings=dict(spec.settings) | dict(spec.found),
                random_seed=spec.random_seed,
                spatial_reference=spec.sources[0],
            )
        }
        for what, (description, units) in _TRACK_MAPS.items():
            sidecars[what] = {
                **model_fields(spec.model),
                **made,
                **generic_sidecar(
                    description=description,
                    sources=spec.tractogram_sources,
                    version=__version__,
                    units=units,
                    spatial_reference="orig" if what != "tdihighres" else spec.sources[0],
                ),
            }
        edge = f"{spec.fine_voxel_mm:g} mm" if isdefined(spec.fine_voxel_mm) else _HALF_EDGE
        sidecars["tdihighres"]["Resolution"] = f"Isotropic voxels of {edge}."
        self._results["sidecars"] = sidecars
        return runtime


def _tell_next_run(inputs: Any) -> dict[str, Any]:
    """Say what a run that goes on from here asks for: the text, and which series and mask it was.

    Checksums tell these from others of the same name.
    """
    told: dict[str, Any] = {"Methods": inputs.methods} if inputs.methods else {}
    files = {"Series": inputs.series_file, "Mask": inputs.mask_file}
    trailers = {what: gzip_trailer(Path(file)) for what, file in files.items() if isdefined(file)}
    found = {what: trailer[0] for what, trailer in trailers.items() if trailer}
    return told | ({"SourceChecksums": found} if found else {})


def _read_history(file: Any) -> dict[str, Any] | None:
    """Read the course of a training with as many digits as a figure can show."""
    if not isdefined(file):
        return None
    return json.loads(
        Path(file).read_text(encoding="utf-8"), parse_float=lambda text: float(f"{float(text):.6g}")
    )


def _responses(inputs: Any) -> dict[str, Response]:
    _, shells = load_gradients(inputs)
    return {
        tissue: read_response(Path(file), tissue, shells.bvals)
        for tissue, file in inputs.response_files.items()
    }
