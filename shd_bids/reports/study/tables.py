"""The tables of a study as files: all measures, what stands apart, what is missing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shd_bids import __version__
from shd_bids.bids.files import write_json, write_text
from shd_bids.bids.study import State, Study, StudyParticipant
from shd_bids.dwi.spread import LARGEST_Z, LEAST_SERIES
from shd_bids.reports.crashes import crash_message

from .meanings import describe, limit_of
from .measures import SeriesRow, measure_names
from .outliers import Outlier

_ENTITIES = {"ses": "session_id", "acq": "acquisition"}
_MEASURED = {
    "participant_id": "Participant.",
    "series": "Start of the names of the series' outputs.",
    "session_id": "Session.",
    "acquisition": "Label of the acquisition.",
    "shells": "b-values, s/mm², under the name that a shell has in the whole study.",
    "state": "How far the last run of the participant came.",
    "verdict": "The worst verdict on the measures that have limits.",
    "n_outliers": "Measures that stand apart from those of the other series.",
    "outliers": "Their names.",
    "n_missing": "Outputs that the last run was asked for and are not there.",
}
_APART = {
    "participant_id": "Participant.",
    "series": "Start of the names of the series' outputs.",
    "measure": "Name of the measure.",
    "value": "Its value.",
    "median": "Median of the series of the same acquisition.",
    "z_score": "Modified z-score (Iglewicz and Hoaglin, 1993).",
    "n_series": "Series of the same acquisition that have the measure.",
}
_MISSING = {
    "participant_id": "Participant.",
    "state": "How far the participant came.",
    "missing": "Outputs that its last run was asked for and are not there.",
    "message": "What failed, by the crash files of its last run.",
}
_LONGEST = 600  # characters of a message


def write_tables(
    folder: Path, study: Study, rows: Sequence[SeriesRow], outliers: Sequence[Outlier]
) -> list[Path]:
    """Write the tables with their sidecars.

    Parameters
    ----------
    folder
        ``group`` of the output dataset.
    study, rows, outliers
        What was found.

    Returns
    -------
    list[Path]
        ``group_desc-measures_qc.tsv`` with all measures, ``group_desc-outliers_qc.tsv`` and
        ``group_desc-missing_qc.tsv``.
    """
    names = measure_names(rows)
    apart: dict[str, list[str]] = {}
    for one in outliers:
        apart.setdefault(one.row.series.stem, []).append(one.spread.name)
    measured = [{**_head(row, apart.get(row.series.stem, [])), **row.measures} for row in rows]
    fields = {name: {"Description": text} for name, text in _MEASURED.items()}
    fields |= {name: _field(name) for name in names}
    files = [_write(folder / "group_desc-measures_qc.tsv", [*_MEASURED, *names], measured, fields)]
    listed = [
        {
            "participant_id": f"sub-{one.row.participant.label}",
            "series": one.row.series.stem,
            "measure": one.spread.name,
            "value": one.value,
            "median": one.spread.median,
            "z_score": round(one.z_score, 2),
            "n_series": one.spread.n_series,
        }
        for one in outliers
    ]
    described = {name: {"Description": text} for name, text in _APART.items()}
    said = {"LargestZScore": LARGEST_Z, "LeastSeries": LEAST_SERIES}
    files.append(
        _write(folder / "group_desc-outliers_qc.tsv", list(_APART), listed, described | said)
    )
    described = {name: {"Description": text} for name, text in _MISSING.items()}
    gaps = list_gaps(study)
    files.append(_write(folder / "group_desc-missing_qc.tsv", list(_MISSING), gaps, described))
    return files


def list_gaps(study: Study) -> list[dict[str, str]]:
    """Say of every participant that did not finish what is missing, and what failed."""
    return [
        {
            "participant_id": f"sub-{one.label}",
            "state": str(one.state),
            "missing": _list_missing(one),
            "message": " | ".join(dict.fromkeys(
                _read_message(file) for file in (one.last_run.crash_files if one.last_run else ())
            )),
        }
        for one in study.participants
        if one.state is not State.FINISHED
    ]  # fmt: skip


def _list_missing(participant: StudyParticipant) -> str:
    """List what is missing; series that lack the same things stand together."""
    alike: dict[str, list[str]] = {}
    for stem, gaps in participant.missing.items():
        alike.setdefault(", ".join(gaps), []).append(stem)
    parts = []
    for gaps_text, stems in alike.items():
        whose = ", ".join(stem.partition("_")[2].replace("_", " ") for stem in stems)
        whose = "all series" if len(stems) == len(participant.series) > 1 else whose
        parts.append(f"{whose}: {gaps_text}" if whose else gaps_text)
    return "; ".join(parts)


def _read_message(crash_file: Path) -> str:
    if crash_file.suffix != ".txt":
        return f"see {crash_file.name}"
    try:
        message = crash_message(crash_file.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        return f"{crash_file.name} cannot be read: {error.strerror}"
    return message if len(message) <= _LONGEST else message[:_LONGEST] + " ..."


def _head(row: SeriesRow, outliers: Sequence[str]) -> dict[str, Any]:
    entities = row.series.entities
    return {
        "participant_id": f"sub-{row.participant.label}",
        "series": row.series.stem,
        **{name: entities.get(key) for key, name in _ENTITIES.items()},
        "shells": ",".join(f"{bval:g}" for bval in row.shells) or None,
        "state": str(row.participant.state),
        "verdict": str(row.verdict),
        "n_outliers": len(outliers),
        "outliers": ",".join(outliers) or None,
        "n_missing": len(row.participant.missing.get(row.series.stem, ())),
    }


def _field(name: str) -> dict[str, Any]:
    meaning, unit = describe(name)
    limit = limit_of(name)
    limits = {}
    if limit is not None:
        limits = {"Good": limit.look, "Poor": limit.poor, "MoreIsBetter": limit.more_is_better}
    return {"Description": f"{meaning}.", **({"Units": unit} if unit else {}), **limits}


def _write(
    file: Path,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    fields: Mapping[str, Any],
) -> Path:
    lines = ["\t".join(columns)]
    lines += ["\t".join(_say(row.get(name)) for name in columns) for row in rows]
    write_text(file, "\n".join(lines) + "\n")
    write_json(file.with_suffix(".json"), {**fields, "SoftwareVersion": f"shd-bids {__version__}"})
    return file


def _say(value: object) -> str:
    if value is None or value == "":
        return "n/a"
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).split())
