"""All measures of a study, one row for each series, read from small files only."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shd_bids.bids.json_files import read_json_object
from shd_bids.bids.study import Study, StudyParticipant
from shd_bids.bids.study_series import StudySeries
from shd_bids.config import TISSUES
from shd_bids.dwi.judgement import Judgement, Verdict, judge
from shd_bids.errors import BidsDataError

LOGGER = logging.getLogger(__name__)

_SHELL_COLUMN = re.compile(r"(num_volumes_b|cnr_b)(\d+(?:\.\d+)?)")
_SHELL_TOLERANCE = 80.0  # s/mm²; shells of two participants that are this close are one
_BY_SEVERITY = (Verdict.POOR, Verdict.LOOK, Verdict.GOOD, Verdict.NONE)

#: b-values (s/mm²) and zonal coefficients, shell by degree, scanner units.
ResponseRows = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class SeriesRow:
    """What was measured of one series.

    Attributes
    ----------
    participant, series
        Whose it is.
    shells
        b-values, b=0 first, under the names that they have in the whole study; empty if unknown.
    measures
        By name, those that the judgement derives among them.
    judgements
        The main measures against their limits.
    responses
        By tissue.
    """

    participant: StudyParticipant
    series: StudySeries
    shells: tuple[float, ...]
    measures: dict[str, float]
    judgements: Sequence[Judgement] = ()
    responses: Mapping[str, ResponseRows] = field(default_factory=dict)

    @property
    def series_label(self) -> str:
        """Session, acquisition and the like; empty where there is one series only."""
        return " ".join(self.series.stem.split("_")[1:])

    @property
    def acquisition(self) -> str:
        """What series must share to be compared: the label of ``acq`` and the shells."""
        shells = ", ".join(f"{bval:g}" for bval in self.shells)
        label = self.series.entities.get("acq")
        return (f"acq-{label}, " if label else "") + (f"b = {shells}" if shells else "b unknown")

    @property
    def verdict(self) -> Verdict:
        """The worst verdict on any measure."""
        given = {one.verdict for one in self.judgements}
        return next((verdict for verdict in _BY_SEVERITY if verdict in given), Verdict.NONE)

    def verdict_on(self, name: str) -> Verdict:
        """Give the verdict on one measure."""
        return next((one.verdict for one in self.judgements if one.name == name), Verdict.NONE)


def gather_measures(
    study: Study, added: Mapping[str, Mapping[str, float | int]] | None = None
) -> list[SeriesRow]:
    """Read what was measured of every series.

    Columns of ``desc-image_qc.tsv``; those of each model's ``desc-model_qc.tsv``, with the model's
    label behind them; numbers of the responses; counts from the sidecars of streamlines and
    connectomes. Nothing else is opened. What cannot be read is left out with a warning.

    Parameters
    ----------
    study
        As of `shd_bids.bids.study.read_study`.
    added
        More measures, by the series' stem or ``sub-X``.

    Returns
    -------
    list[SeriesRow]
        In the order of the study.
    """
    read = [
        (participant, series, *_read_series(series))
        for participant in study.participants
        for series in participant.series
    ]
    names = _name_shells(bval for *_, measures, _, responses in read
                         for bval in _shells_of(measures, responses))  # fmt: skip
    rows = []
    for participant, series, measures, not_judged, responses in read:
        measures = _rename_shells(measures, names)
        for key in (f"sub-{participant.label}", series.stem):
            measures |= {k: float(v) for k, v in (added or {}).get(key, {}).items()}
        judgements = judge(measures, not_judged)
        derived = {one.name: one.value for one in judgements if one.value is not None}
        shells = tuple(names[bval] for bval in _shells_of(measures, responses))
        rows.append(
            SeriesRow(participant, series, shells, derived | measures, judgements, responses)
        )
    return rows


def measure_names(rows: Iterable[SeriesRow]) -> list[str]:
    """List all measures, in the order in which they first appear, shells ascending."""
    names = dict.fromkeys(name for row in rows for name in row.measures)
    firsts: dict[str, int] = {}
    for place, name in enumerate(names):
        firsts.setdefault(_stem_and_bval(name)[0], place)
    return sorted(names, key=lambda name: (firsts[(key := _stem_and_bval(name))[0]], key[1]))


def _read_series(
    series: StudySeries,
) -> tuple[dict[str, float], dict[str, str], dict[str, ResponseRows]]:
    """Give measures, the reasons why some tell nothing, and responses."""
    measures: dict[str, float] = {}
    not_judged: dict[str, str] = {}
    for file in series.find("qc", ".tsv", desc="image")[:1]:
        measures |= _read_row(file)
    for file in series.find("qc", ".json", desc="image")[:1]:
        judged = _read_json(file).get("Judgements")
        for name, said in (judged if isinstance(judged, dict) else {}).items():
            if isinstance(said, dict) and said.get("Remark"):
                not_judged[name] = str(said["Remark"])
    responses = _read_responses(series)
    measures |= _response_measures(series, responses)
    for model in series.models:
        for file in series.find("qc", ".tsv", desc="model", model=model, space=series.space)[:1]:
            measures |= {f"{name}_{model}": value for name, value in _read_row(file).items()}
    return measures | _tract_measures(series), not_judged, responses


def _read_responses(series: StudySeries) -> dict[str, ResponseRows]:
    responses = {}
    for tissue in TISSUES:
        files = series.find(
            "dwimap", ".txt", param="response", label=tissue, space=series.space, desc=None
        )
        for file in files[:1]:
            if found := _read_response(file):
                responses[tissue] = found
    return responses


def _read_response(file: Path) -> ResponseRows | None:
    """Read MRtrix3's text with the shells in its first line, as we write it."""
    head, *lines = _read_lines(file) or [""]
    try:
        bvals = [float(word) for word in head.partition("Shells:")[2].split(",")]
        rows = [[float(word) for word in line.split()] for line in lines if line.strip()]
    except ValueError:
        LOGGER.warning("%s is no response with its shells in the first line; passed over.", file)
        return None
    if len(bvals) != len(rows) or not all(rows):
        return None
    width = max(map(len, rows))
    return np.array(bvals), np.array([row + [0.0] * (width - len(row)) for row in rows])


def _response_measures(
    series: StudySeries, responses: Mapping[str, ResponseRows]
) -> dict[str, float]:
    measures = {
        f"response_b0_{tissue}": float(rows[0, 0] / np.sqrt(4 * np.pi))
        for tissue, (_, rows) in responses.items()
    }
    if "WM" in responses:
        zonal = responses["WM"][1][-1]
        if total := float((zonal**2).sum()):
            measures["response_gfa"] = float(np.sqrt(1 - zonal[0] ** 2 / total))
    for tissue in responses:
        for file in series.find(
            "dwimap", ".json", param="response", label=tissue, space=series.space, desc=None
        )[:1]:
            settings = _read_json(file).get("Settings")
            count = _number(settings.get("NumberOfVoxels")) if isinstance(settings, dict) else None
            if count is not None:
                measures[f"response_voxels_{tissue}"] = count
    return measures


def _tract_measures(series: StudySeries) -> dict[str, float]:
    """Count streamlines, and those that join regions, by the sidecars."""
    measures: dict[str, float] = {}
    for file in series.find("tractogram", ".json", space=series.space, desc=None, bundle=None)[:1]:
        count = _number(_read_json(file).get("StreamlineCount"))
        if count is not None:
            measures["streamlines"] = count
    for atlas in series.labels("seg", "connectivity", ".json", desc="count"):
        fields = _read_json(series.find("connectivity", ".json", seg=atlas, desc="count")[0])
        joined = _number(fields.get("AssignedStreamlineCount"))
        count = _number(fields.get("StreamlineCount"))
        if joined is not None and count:
            measures[f"connectome_assigned_{atlas}"] = 100 * joined / count
    return measures


def _shells_of(measures: Mapping[str, float], responses: Mapping[str, ResponseRows]) -> list[float]:
    """List the shells of one series by its counts of volumes, else by its response."""
    counted = [_stem_and_bval(name) for name in measures]
    found = sorted(bval for stem, bval in counted if stem == "num_volumes_b")
    return found or next((bvals.tolist() for bvals, _ in responses.values()), [])


def _name_shells(bvals: Iterable[float]) -> dict[float, float]:
    """Give shells that are close one name, that of the commonest: 998 and 1003 are 1000 here."""
    counts = Counter(bvals)
    names: dict[float, float] = {}
    chosen: list[float] = []
    for bval, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        near = [one for one in chosen if abs(one - bval) <= _SHELL_TOLERANCE]
        if not near:
            chosen.append(bval)
        names[bval] = min(near, key=lambda one: abs(one - bval)) if near else bval
    return names


def _rename_shells(measures: Mapping[str, float], names: Mapping[float, float]) -> dict[str, float]:
    renamed: dict[str, float] = {}
    for name, value in measures.items():
        stem, bval = _stem_and_bval(name)
        new = f"{stem}{names[bval]:g}" if bval in names and stem != name else name
        renamed[name if new in renamed else new] = value
    return renamed


def _stem_and_bval(name: str) -> tuple[str, float]:
    found = _SHELL_COLUMN.fullmatch(name)
    return (found[1], float(found[2])) if found else (name, 0.0)


def _read_row(file: Path) -> dict[str, float]:
    """Read the numbers of a table of one row."""
    lines = _read_lines(file)
    if len(lines) < 2:
        LOGGER.warning("%s holds no row; passed over.", file)
        return {}
    row = {}
    for name, text in zip(lines[0].split("\t"), lines[1].split("\t"), strict=False):
        try:
            value = float(text)
        except ValueError:  # n/a, or a name
            continue
        if np.isfinite(value):
            row[name] = value
    return row


def _read_json(file: Path) -> dict[str, Any]:
    try:
        return read_json_object(file)
    except BidsDataError as error:
        LOGGER.warning("%s It is passed over.", error)
        return {}


def _read_lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        LOGGER.warning("%s cannot be read (%s); passed over.", file, error)
        return []


def _number(value: object) -> float | None:
    """Take a number from a sidecar; None is what is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None
