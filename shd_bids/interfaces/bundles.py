"""The node that finds bundles of known anatomy in a tractogram."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    Directory,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from shd_bids.errors import ConfigError, TrackingError
from shd_bids.tractography.bundles import (
    N_NODE,
    Recognition,
    RecognitionSettings,
    recognise_bundles,
    turn_and_scale,
)
from shd_bids.tractography.draw import Draw, EvenLines, draw_streamlines, pick_streamlines
from shd_bids.tractography.measures import BundleMap, MeasuredBundle, measure_bundle
from shd_bids.tractography.model_bundles import (
    FLAG,
    ModelFiles,
    find_model_files,
    read_model,
)
from shd_bids.tractography.tractogram import read_batches, write_tck

from .nifti import read_affine, read_array
from .tables import write_table

LOGGER = logging.getLogger(__name__)


# Heads lie within these of a template; beyond, the registration has more likely failed.
_LARGE_TURN_DEG, _LARGE_SCALE = 30.0, 1.3


class _RecogniseBundlesInputSpec(BaseInterfaceInputSpec):
    tractogram_file = File(exists=True, mandatory=True, desc="TCK")
    model_dir = Directory(exists=True, mandatory=True, desc="model bundles in one space")
    model_files = traits.List(
        File(exists=True), desc="all files of the folder that are read, so that changes are noticed"
    )
    map_files = traits.Dict(
        traits.Str, File(exists=True), mandatory=True, minlen=1, desc="one number a voxel, by name"
    )
    n_most = traits.Range(1, value=500_000, usedefault=True, desc="streamlines drawn at most")
    random_seed = traits.Int(0, usedefault=True, desc="seed of the draw and of the clustering")


class _RecogniseBundlesOutputSpec(TraitedSpec):
    bundle_files = traits.Dict(traits.Str, File(exists=True), desc="TCK by bundle, those found")
    table_file = File(desc="count, mean length, volume and start of each bundle")
    profiles_file = File(desc="maps along each bundle found, one row per bundle, node and map")
    counts = traits.Dict(traits.Str, traits.Int, desc="streamlines by bundle")
    settings = traits.Dict(traits.Str, traits.Any, desc="what was done, for the sidecars")


class RecogniseBundles(SimpleInterface):
    """Find the bundles that the user has models of, and measure maps along them."""

    input_spec = _RecogniseBundlesInputSpec
    output_spec = _RecogniseBundlesOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        settings = RecognitionSettings(n_most=spec.n_most)
        tractogram_file, models = Path(spec.tractogram_file), find_model_files(Path(spec.model_dir))
        model_lines = {label: self._draw_model(file) for label, file in models.bundles.items()}
        maps = [self._read_map(name, Path(file)) for name, file in spec.map_files.items()]
        drawn = draw_streamlines(
            read_batches(tractogram_file),
            n_most=settings.n_most,
            random_seed=spec.random_seed,
            n_node=N_NODE,
            min_length_mm=settings.min_length_mm,
        )
        found = recognise_bundles(
            drawn.lines(N_NODE),
            model_lines,
            self._draw_model(models.whole_brain) if models.whole_brain else None,
            settings=settings,
            random_seed=spec.random_seed,
        )
        anywhere = np.unique(np.concatenate(list(found.members.values())))
        chosen = pick_streamlines(read_batches(tractogram_file), drawn.places[anywhere])
        measured, files = [], {}
        for label, members in found.members.items():
            bundle = chosen.where(np.isin(anywhere, members))
            measured.append(measure_bundle(label, bundle, found.to_model, model_lines[label], maps))
            if len(bundle):
                files[label] = str(out / f"{label}.tck")
                write_tck([bundle], Path(files[label]), settings={"bundle": label})
        self._results["bundle_files"] = files
        self._results["table_file"] = _write_bundles(measured, out / "bundles.tsv")
        self._results["profiles_file"] = _write_profiles(measured, out / "profiles.tsv")
        self._results["counts"] = {each.label: each.n_streamline for each in measured}
        self._results["settings"] = _describe(settings, drawn, found, models)
        _warn(settings, drawn, found)
        return runtime

    def _draw_model(self, file: Path) -> EvenLines:
        """Read as much of a model as of a tractogram."""
        spec = self.inputs
        drawn = draw_streamlines(
            read_model(file), n_most=spec.n_most, random_seed=spec.random_seed, n_node=N_NODE
        )
        if not len(drawn.places):
            raise ConfigError(f"{FLAG}: {file} holds only streamlines of length 0. Leave it out.")
        return drawn.lines(N_NODE)

    def _read_map(self, name: str, file: Path) -> BundleMap:
        data = read_array(file)
        if data.ndim != 3:
            raise TrackingError(
                f"{file.name} has the shape {data.shape}, but a profile along a bundle needs one "
                "number per voxel. Leave this map out."
            )
        return BundleMap(name, data, read_affine(file))


def _warn(settings: RecognitionSettings, drawn: Draw, found: Recognition) -> None:
    if len(drawn.places) < drawn.n_usable:
        LOGGER.info(
            "Bundles are looked for among %d of %d streamlines, drawn at random.",
            len(drawn.places),
            drawn.n_usable,
        )
    turn_deg, scales = turn_and_scale(found.to_model)
    far = found.distance_mm is not None and found.distance_mm > settings.cluster_mm
    if far or turn_deg > _LARGE_TURN_DEG or np.abs(np.log(scales)).max() > np.log(_LARGE_SCALE):
        LOGGER.warning(
            "The tractogram was turned by %.0f degrees and scaled by %.2f to %.2f to reach the "
            "models of %s, and lies %.0f mm from them: look at the picture of the bundles before "
            "using them, and give a model of the whole brain (whole_brain.trk) if there is one.",
            turn_deg,
            scales.min(),
            scales.max(),
            FLAG,
            found.distance_mm or 0.0,
        )
    for label, members in found.members.items():
        if not len(members):
            LOGGER.warning("The bundle %s of %s was not found in the tractogram.", label, FLAG)


def _write_bundles(measured: list[MeasuredBundle], file: Path) -> str:
    columns: dict[str, list[Any]] = {
        "bundle": [each.label for each in measured],
        "n_streamlines": [each.n_streamline for each in measured],
        "mean_length_mm": [each.mean_length_mm for each in measured],
        "volume_mm3": [each.volume_mm3 for each in measured],
        "start": [each.start for each in measured],
    }
    return write_table(columns, file)


def _write_profiles(measured: list[MeasuredBundle], file: Path) -> str:
    rows = [
        (each.label, node, name, mean, std, each.n_streamline)
        for each in measured
        for name, profile in each.profiles.items()
        for node, (mean, std) in enumerate(zip(profile.mean, profile.std, strict=True))
    ]
    names = ("bundle", "node", "map", "mean", "std", "n_streamlines")
    columns = {name: [row[order] for row in rows] for order, name in enumerate(names)}
    return write_table(columns, file)


def _describe(
    settings: RecognitionSettings, drawn: Draw, found: Recognition, models: ModelFiles
) -> dict[str, Any]:
    counts = {
        "UsableStreamlineCount": drawn.n_usable,
        "SearchedStreamlineCount": len(drawn.places),
        "MinLengthMillimetres": settings.min_length_mm,
    }
    if found.distance_mm is None:
        return counts
    return counts | {
        "RegistrationTarget": "bundles" if models.whole_brain is None else "whole brain",
        "RegistrationDistanceMillimetres": round(found.distance_mm, 3),
        "TractogramToModel": found.to_model.round(6).tolist(),
        "ClusterMillimetres": settings.cluster_mm,
        "ModelClusterMillimetres": settings.model_cluster_mm,
        "ReductionMillimetres": settings.reduction_mm,
        "PruningMillimetres": settings.pruning_mm,
    }
