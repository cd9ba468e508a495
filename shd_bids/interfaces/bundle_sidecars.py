"""The node that writes what stands beside recognised bundles."""

from collections.abc import Callable
from functools import partial
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, TraitedSpec, traits

from shd_bids import __version__
from shd_bids.bids.columns import column_fields
from shd_bids.bids.sidecars import generic_sidecar

_TABLE_COLUMNS = {
    "bundle": ("Label of the model.", None),
    "n_streamlines": ("Streamlines; 0 if the bundle was not found.", "1"),
    "mean_length_mm": ("Their mean length.", "mm"),
    "volume_mm3": ("Volume of the voxels that they pass through.", "mm^3"),
    "start": ("End of the bundle where its profiles start.", None),
}
_PROFILE_COLUMNS = {
    "bundle": ("Label of the model.", None),
    "node": ("Place along the bundle, 0 at its start.", "1"),
    "map": ("Which map: the param of its file.", None),
    "mean": ("Mean over the streamlines, those near the core weighing more.", "that of the map"),
    "std": ("Standard deviation, weighed alike.", "that of the map"),
    "n_streamlines": ("Streamlines of the bundle.", "1"),
}


class _DescribeBundlesInputSpec(BaseInterfaceInputSpec):
    counts = traits.Dict(traits.Str, traits.Int, mandatory=True, desc="streamlines by bundle")
    settings = traits.Dict(mandatory=True, desc="how they were recognised")
    sources = traits.List(traits.Str, mandatory=True, desc="BIDS URI of the tractogram")
    map_sources = traits.List(traits.Str, mandatory=True, desc="BIDS URIs of the maps")
    random_seed = traits.Int(mandatory=True, desc="seed")


class _DescribeBundlesOutputSpec(TraitedSpec):
    sidecars = traits.Dict(traits.Str, traits.Dict, desc="JSON content by bundle and table")


class DescribeBundles(SimpleInterface):
    """Describe the bundles that were recognised and the tables of them."""

    input_spec = _DescribeBundlesInputSpec
    output_spec = _DescribeBundlesOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec = self.inputs
        describe: Callable[..., dict[str, Any]] = partial(
            generic_sidecar,
            version=__version__,
            settings=spec.settings,
            random_seed=spec.random_seed,
            spatial_reference=None,
        )
        self._results["sidecars"] = {
            label: describe(
                description=f"Streamlines of the bundle {label}; points in scanner RAS+ mm.",
                units="mm",
                sources=spec.sources,
            )
            | {"StreamlineCount": count}
            for label, count in spec.counts.items()
        } | {
            # No label of a bundle holds a dot.
            "bundles.tsv": describe(
                description="Bundles that were looked for.", sources=spec.sources
            )
            | column_fields(_TABLE_COLUMNS),
            "profiles.tsv": describe(
                description="Maps along the bundles.", sources=[*spec.sources, *spec.map_sources]
            )
            | column_fields(_PROFILE_COLUMNS),
        }
        return runtime
