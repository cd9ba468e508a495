"""The nodes of the group level: average responses, and one network for many scans."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from shd_bids import __version__
from shd_bids.bids.files import write_json, write_text
from shd_bids.bids.sidecars import model_sidecar, response_sidecar
from shd_bids.config import TISSUES
from shd_bids.dwi.gradients import read_gradients, write_mrtrix_gradients
from shd_bids.dwi.images import open_image
from shd_bids.reports.model_card import write_model_card
from shd_bids.response.average import (
    AverageResponse,
    average_responses,
    match_intensity,
    relative_intensity,
)
from shd_bids.response.io import Response, read_response, write_response

from .deconvolution import NetworkInputSpec, describe_job, place_job
from .process import run_program
from .tables import write_table

_METHOD = (
    "mean over participants, each response first multiplied by the number that brings the l=0 "
    "terms of its shells to the study's, as MRtrix3's responsemean does"
)


class _AverageResponsesInputSpec(BaseInterfaceInputSpec):
    response_files = traits.List(
        traits.Dict(traits.Str, File(exists=True)), mandatory=True, desc="by tissue, of each scan"
    )
    names = traits.List(traits.Str, mandatory=True, desc="of the scans")
    shell_bvals = traits.List(traits.Float, mandatory=True, desc="shells, s/mm²")
    sources = traits.List(traits.Str, mandatory=True, desc="BIDS URIs of the responses")


class _AverageResponsesOutputSpec(TraitedSpec):
    response_files = traits.Dict(traits.Str, File(exists=True), desc="MRtrix3 text by tissue")
    matched_files = traits.List(
        traits.Dict(traits.Str, File(exists=True)),
        desc="the same at the intensity of each scan, by tissue",
    )
    sidecars = traits.Dict(traits.Str, traits.Dict, desc="JSON content by tissue")
    table_file = File(desc="a row for each scan")
    table_sidecar = traits.Dict(desc="what the columns mean")


class AverageResponses(SimpleInterface):
    """Average the responses of all scans, and tell which are unlike the others."""

    input_spec = _AverageResponsesInputSpec
    output_spec = _AverageResponsesOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        bvals = np.asarray(spec.shell_bvals, dtype=float)
        own: list[dict[str, Response]] = [{} for _ in spec.names]
        averages, files, sidecars = {}, {}, {}
        for tissue in (name for name in TISSUES if name in spec.response_files[0]):
            found = [read_response(Path(one[tissue]), tissue, bvals) for one in spec.response_files]
            for one, response in zip(own, found, strict=True):
                one[tissue] = response
            averages[tissue] = average = average_responses(found, spec.names)
            files[tissue] = str(out / f"response_{tissue}.txt")
            write_response(average.response, Path(files[tissue]))
            sidecars[tissue] = _describe_average(average, spec.names, spec.sources)
        study = {tissue: average.response for tissue, average in averages.items()}
        self._results["response_files"] = files
        self._results["matched_files"] = [
            _write_matched(match_intensity(study, one), out / f"scan{number}")
            for number, one in enumerate(own)
        ]
        self._results["sidecars"] = sidecars
        self._results["table_file"] = write_table(
            {
                "series": spec.names,
                "intensity": [relative_intensity(one, study) for one in own],
                **{f"multiplier_{t}": one.multipliers.tolist() for t, one in averages.items()},
                "unlike": [_say_unlike(averages, place) for place in range(len(spec.names))],
            },
            out / "responses.tsv",
        )
        self._results["table_sidecar"] = _describe_table(averages, spec.sources)
        return runtime


def _write_matched(responses: dict[str, Response], folder: Path) -> dict[str, str]:
    files = {tissue: folder / f"{tissue}.txt" for tissue in responses}
    for tissue, response in responses.items():
        write_response(response, files[tissue])
    return {tissue: str(file) for tissue, file in files.items()}


def _describe_average(
    average: AverageResponse, names: list[str], sources: list[str]
) -> dict[str, Any]:
    response = average.response
    fields = response_sidecar(
        tissue=response.tissue,
        method=_METHOD,
        bvals=response.bvals.tolist(),
        coefficients=response.coefficients.tolist(),
        sources=sources,
        version=__version__,
    )
    outliers = [
        {
            "Series": names[one.index],
            "Measure": one.measure,
            "Value": one.value,
            "Median": one.median,
            "ModifiedZ": one.score,
        }
        for one in average.outliers
    ]
    return fields | {
        "NumberOfSeries": len(names),
        "StandardDeviation": average.spread.tolist(),
        "Outliers": outliers,
    }


def _say_unlike(averages: dict[str, AverageResponse], place: int) -> str:
    said = [
        f"{tissue} {one.measure}: {one.value:.4g}, median {one.median:.4g}"
        for tissue, average in averages.items()
        for one in average.outliers
        if one.index == place
    ]
    return "; ".join(said) or "n/a"


def _describe_table(averages: dict[str, AverageResponse], sources: list[str]) -> dict[str, Any]:
    return {
        "series": {"Description": "Start of the names of the series' files."},
        "intensity": {
            "Description": "How bright the scan is beside the study, over all tissues and shells; "
            "average responses are multiplied by it to fit this scan."
        },
        **{
            f"multiplier_{tissue}": {
                "Description": f"What the {tissue} response was multiplied by before it was "
                "averaged: below 1 for a scan that is brighter than the others."
            }
            for tissue in averages
        },
        "unlike": {
            "Description": "Measures of the response whose modified z-score (Iglewicz and Hoaglin "
            "1993) is beyond 3.5, beside the study's median; not judged with fewer than 5 series."
        },
        "Sources": sources,
        "SoftwareVersion": f"shd-bids {__version__}",
    }


class _WriteTablesInputSpec(BaseInterfaceInputSpec):
    dwi_files = traits.List(File(exists=True), mandatory=True, desc="series")
    gradient_files = traits.List(
        traits.List(File(exists=True)), mandatory=True, desc="gradient files of each series"
    )
    conventions = traits.List(traits.Str, mandatory=True, desc="of the directions of each series")


class _WriteTablesOutputSpec(TraitedSpec):
    gradients_files = traits.List(File(exists=True), desc="MRtrix3 tables, scanner RAS+ axes")


class WriteTables(SimpleInterface):
    """Write the gradients of many series in scanner axes."""

    input_spec = _WriteTablesInputSpec
    output_spec = _WriteTablesOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, tables = self.inputs, []
        series = zip(spec.dwi_files, spec.gradient_files, spec.conventions, strict=True)
        for number, (dwi_file, files, convention) in enumerate(series):
            affine = open_image(Path(dwi_file)).affine
            table = read_gradients([Path(file) for file in files], convention, affine)
            tables.append(str(Path(runtime.cwd) / f"gradients{number}.b"))
            write_mrtrix_gradients(table, Path(tables[-1]))
        self._results["gradients_files"] = tables
        return runtime


class _TrainStudyInputSpec(NetworkInputSpec):
    response_files = traits.List(
        traits.Dict(traits.Str, File(exists=True)), mandatory=True, desc="by tissue, of each scan"
    )
    dwi_files = traits.List(File(exists=True), mandatory=True, desc="series")
    gradients_files = traits.List(File(exists=True), mandatory=True, desc="MRtrix3 tables")
    mask_files = traits.List(File(exists=True), mandatory=True, desc="brain masks")
    b0_threshold = traits.Float(mandatory=True, desc="largest b-value that counts as b=0, s/mm²")
    shell_tolerance = traits.Float(mandatory=True, desc="b-values this close are one shell, s/mm²")
    gpus = traits.List(traits.Str, nohash=True, desc="ids of the cards to train on")


class _TrainStudyOutputSpec(TraitedSpec):
    weights_file = File(exists=True, desc="network weights")
    history_file = File(exists=True, desc="course of the training, loss of each scan, JSON")
    summary_file = File(exists=True, desc="what was done, JSON")


class TrainStudy(SimpleInterface):
    """Train one network for many scans, on all cards, in processes of its own."""

    input_spec = _TrainStudyInputSpec
    output_spec = _TrainStudyOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        scans = [
            {
                "dwi_file": dwi_file,
                "gradients_file": gradients_file,
                "mask_file": mask_file,
                "responses": dict(responses),
            }
            for dwi_file, gradients_file, mask_file, responses in zip(
                spec.dwi_files,
                spec.gradients_files,
                spec.mask_files,
                spec.response_files,
                strict=True,
            )
        ]
        files = [*spec.dwi_files, *spec.gradients_files, *spec.mask_files]
        files += [file for responses in spec.response_files for file in responses.values()]
        job = describe_job(spec) | scans[0] | {"scans": scans[1:]}
        job = place_job(job, spec, files, out)
        write_json(out / "job.json", job)
        command, environment = [sys.executable], {}
        if len(spec.gpus) > 1:
            # its folder of logs would stay in the one of temporary files
            torchrun = ["--standalone", "--log-dir", str(out / "torchrun")]
            torchrun += ["--nproc-per-node", str(len(spec.gpus))]
            command += ["-m", "torch.distributed.run", *torchrun]
        if spec.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(spec.gpus)
        command += ["-m", "shd_bids.deconvolution", str(out / "job.json")]
        run_program(command, out, environment)
        self._results["weights_file"] = str(out / "weights.safetensors")
        self._results["history_file"] = str(out / "history.json")
        self._results["summary_file"] = str(out / "summary.json")
        return runtime


class _DescribeNetworkInputSpec(BaseInterfaceInputSpec):
    model = traits.Str(mandatory=True, desc="as in file names")
    names = traits.List(traits.Str, mandatory=True, desc="of the scans")
    shell_bvals = traits.List(traits.Float, mandatory=True, desc="shells, s/mm²")
    history_file = File(exists=True, mandatory=True, desc="course of the training, JSON")
    summary_file = File(exists=True, mandatory=True, desc="what was done, JSON")
    responses = traits.List(traits.Str, mandatory=True, desc="BIDS URIs of the average responses")
    sources = traits.List(traits.Str, mandatory=True, desc="BIDS URIs of the series")


class _DescribeNetworkOutputSpec(TraitedSpec):
    sidecars = traits.Dict(traits.Str, traits.Dict, desc="JSON content, by key")
    card_file = File(exists=True, desc="model card, Markdown")


class DescribeNetwork(SimpleInterface):
    """Say what a study's network was trained on, how, and how well it fits each scan."""

    input_spec = _DescribeNetworkInputSpec
    output_spec = _DescribeNetworkOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec = self.inputs
        summary, history = (
            json.loads(Path(file).read_text(encoding="utf-8"))
            for file in (spec.summary_file, spec.history_file)
        )
        losses = [
            {"series": name, **{key: value for key, value in loss.items() if key != "file"}}
            for name, loss in zip(spec.names, history["scans"], strict=True)
        ]
        training = {key: history[key] for key in ("step", "seconds", "loss", "weights")}
        fields = model_sidecar(
            model=spec.model,
            lmax=int(summary["lmax"]),
            tissues=summary["tissues"],
            shell_bvals=spec.shell_bvals,
            sources=[*spec.sources, *spec.responses],
            version=__version__,
            settings=summary,
            random_seed=summary["random_seed"],
        )
        fields |= {"Responses": spec.responses, "Training": training, "Losses": losses}
        card_file = Path(runtime.cwd) / "card.md"
        write_text(card_file, write_model_card(fields))
        self._results["sidecars"] = {"weights": fields}
        self._results["card_file"] = str(card_file)
        return runtime
