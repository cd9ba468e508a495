"""Nodes that write what was measured: the table of the series, judged, and that of its slices."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from shd_bids import __version__
from shd_bids.anat.brain import MASK_METHODS
from shd_bids.bids.columns import column_fields
from shd_bids.bids.files import write_text
from shd_bids.dwi.judgement import Judgement, Verdict, judge
from shd_bids.dwi.outliers import slice_report
from shd_bids.dwi.quality import describe_measure
from shd_bids.reports.judgements import judgement_fragment

from .motion import read_outliers
from .tables import write_table

LOGGER = logging.getLogger(__name__)


class _WriteQualityInputSpec(BaseInterfaceInputSpec):
    measures = traits.Dict(mandatory=True, desc="of the series, by name")
    gradient_fields = traits.Dict(mandatory=True, desc="verdict on the gradients, for the sidecar")
    t1_dice_distance = traits.Float(desc="between the T1w mask and that of the series")
    t1w_mask_method = traits.Enum(*MASK_METHODS, desc="where the T1w mask comes from")


class _WriteQualityOutputSpec(TraitedSpec):
    qc_file = File(desc="one row of measures")
    quality_fields = traits.Dict(desc="what the columns mean, and the judgement, for the sidecar")
    judgement_files = traits.Dict(traits.Str, File(exists=True), desc="judgement as HTML")


class WriteQuality(SimpleInterface):
    """Write all measures of a series, and judge the main ones."""

    input_spec = _WriteQualityInputSpec
    output_spec = _WriteQualityOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out, not_judged = self.inputs, Path(runtime.cwd), {}
        measures = dict(spec.measures)
        if isdefined(spec.t1_dice_distance):
            measures["t1_dice_distance"] = spec.t1_dice_distance
        if spec.t1w_mask_method == "dwi":
            not_judged["t1_dice_distance"] = "the T1w mask was taken over from the series"
        judgements = judge(measures, not_judged)
        for one in judgements:
            if one.verdict is Verdict.POOR:
                LOGGER.warning("%s (%s: %.3g)", one.limit.warning, one.name, one.value)
        write_text(out / "judgement.html", judgement_fragment(judgements))
        columns = {name: [value] for name, value in measures.items()}
        self._results["qc_file"] = write_table(columns, out / "qc.tsv")
        self._results["judgement_files"] = {"judgement": str(out / "judgement.html")}
        self._results["quality_fields"] = {
            **column_fields({name: _describe(name) for name in measures}),
            "Judgements": {one.name: _as_fields(one) for one in judgements},
            "GradientCheck": spec.gradient_fields,
        }
        return runtime


class _WriteSliceQualityInputSpec(BaseInterfaceInputSpec):
    outliers_file = File(exists=True, mandatory=True, desc="slices against their prediction")
    sources = traits.List(traits.Str, mandatory=True, desc="BIDS URIs")


class _WriteSliceQualityOutputSpec(TraitedSpec):
    out_file = File(desc="JSON")


class WriteSliceQuality(SimpleInterface):
    """Write how every slice compares with its prediction, and which were replaced."""

    input_spec = _WriteSliceQualityInputSpec
    output_spec = _WriteSliceQualityOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        z_scores, outliers = read_outliers(Path(self.inputs.outliers_file))
        fields = {
            **slice_report(z_scores, outliers),
            "Sources": self.inputs.sources,
            "SoftwareVersion": f"shd-bids {__version__}",
            "carpetplot": [[_round(z) for z in row] for row in z_scores.tolist()],
        }
        out_file = Path(runtime.cwd) / "slices.json"
        write_text(out_file, _one_line_a_row(fields))
        self._results["out_file"] = str(out_file)
        return runtime


def _describe(name: str) -> tuple[str, str]:
    meaning, unit = describe_measure(name)
    return meaning, unit or "1"


def _as_fields(one: Judgement) -> dict[str, Any]:
    return {
        "Verdict": str(one.verdict),
        "Good": one.limit.look,
        "Poor": one.limit.poor,
        "MoreIsBetter": one.limit.more_is_better,
        **({"Remark": one.remark} if one.remark else {}),
    }


def _round(z_score: float) -> float | None:
    return None if np.isnan(z_score) else round(z_score, 2)


def _one_line_a_row(fields: dict[str, Any]) -> str:
    """Write JSON with each entry of a list on a line of its own."""
    entries = []
    for key, value in fields.items():
        text = json.dumps(value)
        if isinstance(value, list) and value and isinstance(value[0], list | dict):
            text = "[\n    " + ",\n    ".join(map(json.dumps, value)) + "\n  ]"
        entries.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(entries) + "\n}\n"
