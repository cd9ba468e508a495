"""The node that sums up what a model made of a series, in a table of one row."""

import json
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

from shd_bids.reports.metrics import fraction_metrics, residual_metrics
from shd_bids.reports.study.meanings import MODEL_MEANINGS

from .nifti import read_array, read_mask
from .tables import write_table

_AVERAGED = ("afd", "gfa", "nufo")


class _MeasureModelInputSpec(BaseInterfaceInputSpec):
    map_files = traits.Dict(traits.Str, File(exists=True), mandatory=True, desc="by parameter")
    fraction_files = traits.Dict(traits.Str, File(exists=True), mandatory=True, desc="by tissue")
    mask_file = File(exists=True, mandatory=True, desc="brain mask")
    summary_file = File(exists=True, mandatory=True, desc="what was done, JSON")
    history_file = File(exists=True, desc="course of the training, JSON")


class _MeasureModelOutputSpec(TraitedSpec):
    qc_file = File(desc="one row of measures")
    quality_fields = traits.Dict(desc="what the columns mean, for the sidecar")


class MeasureModel(SimpleInterface):
    """Average the maps of a model over the brain, so that a study need not open them."""

    input_spec = _MeasureModelInputSpec
    output_spec = _MeasureModelOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, mask = self.inputs, read_mask(self.inputs.mask_file)
        residual = residual_metrics({"": read_array(spec.map_files["rmse"])}, mask)[""]
        fractions = {tissue: read_array(file) for tissue, file in spec.fraction_files.items()}
        measures: dict[str, Any] = {
            "residual_median": residual["median_percent"],
            "residual_p95": residual["p95_percent"],
            **{f"fraction_{name}": v for name, v in fraction_metrics(fractions, mask).items()},
        }
        for name in _AVERAGED:
            measures[f"mean_{name}"] = float(read_array(spec.map_files[name])[mask].mean())
        if isdefined(spec.history_file):
            loss = json.loads(Path(spec.history_file).read_text(encoding="utf-8"))["loss"]
            measures |= _loss_measures(loss)
        summary = json.loads(Path(spec.summary_file).read_text(encoding="utf-8"))
        measures["fit_seconds"] = float(summary["seconds"])
        columns = {name: [value] for name, value in measures.items()}
        self._results["qc_file"] = write_table(columns, Path(runtime.cwd) / "qc.tsv")
        self._results["quality_fields"] = {name: _describe(name) for name in measures}
        return runtime


def _loss_measures(loss: dict[str, list[float]]) -> dict[str, float]:
    """Say where the training ended; nothing if there was none."""
    if not loss.get("total"):
        return {}
    measures = {"training_loss": loss["total"][-1]}
    if loss.get("start") and loss["start"][-1] > 0:
        measures["loss_over_start"] = loss["total"][-1] / loss["start"][-1]
    return measures


def _describe(name: str) -> dict[str, str]:
    meaning, unit = MODEL_MEANINGS[name]
    return {"Description": f"{meaning}.", **({"Units": unit} if unit else {})}
