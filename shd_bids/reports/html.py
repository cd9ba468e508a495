"""The participant's page, assembled by nireports from the figures that a run has left.

Figures are found by name, ``sub-X/figures/sub-X[_ses-Y][_acq-Z]_desc-<what>_dwi.{svg,png,html}``;
``data/report_spec.yml`` lists every ``<what>`` in its order. The page needs nothing from the
network and can be moved together with the folder of figures.
"""

import re
import tempfile
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from nireports.assembler.report import Report

from shd_bids.bids.files import write_text
from shd_bids.bids.names import derivative_path
from shd_bids.reports.crashes import crash_fragment
from shd_bids.reports.dress import dress
from shd_bids.reports.methods import methods_fragment
from shd_bids.reports.policy import bring_policy

# Short names of the entities that nireports tells figures apart by.
_ENTITIES = {
    "ses": "session",
    "acq": "acquisition",
    "ce": "ceagent",
    "rec": "reconstruction",
    "dir": "direction",
    "run": "run",
    "part": "part",
}

Series = tuple[tuple[str, str], ...]


def figure_path(entities: Mapping[str, str], what: str, extension: str) -> Path:
    """Name a figure or a fragment, relative to the output dataset.

    Parameters
    ----------
    entities
        Of the series by their short names; only ``sub`` for what concerns the participant.
    what
        As listed in ``data/report_spec.yml``.
    extension
        ``.svg``, ``.png`` or ``.html``.

    Returns
    -------
    Path
        In the folder of figures.

    Examples
    --------
    >>> figure_path({"sub": "01", "ses": "a"}, "mask", ".png").as_posix()
    'sub-01/figures/sub-01_ses-a_desc-mask_dwi.png'
    """
    return derivative_path(
        entities, datatype="figures", suffix="dwi", extension=extension, desc=what
    )


def assemble_report(
    output_dir: Path, participant_label: str, run_uuid: str, *, methods: str = ""
) -> Path:
    """Write ``sub-X.html`` from the participant's figures, fragments and crash files.

    Parameters
    ----------
    output_dir
        Root of the output dataset.
    participant_label
        Without ``sub-``.
    run_uuid
        Of the run; crash files lie in ``sub-X/log/<run_uuid>``.
    methods
        Markdown with citation keys, as the graph describes itself; empty leaves the section out.

    Returns
    -------
    Path
        The page.
    """
    participant_dir = output_dir / f"sub-{participant_label}"
    entities = {"sub": participant_label}
    errors_file = output_dir / figure_path(entities, "errors", ".html")
    write_text(errors_file, crash_fragment(participant_dir / "log" / run_uuid))
    if methods.strip():
        methods_file = output_dir / figure_path(entities, "methods", ".html")
        write_text(methods_file, methods_fragment(methods))
    page_file = output_dir / f"sub-{participant_label}.html"
    with tempfile.TemporaryDirectory() as folder:
        spec_file, draft_file = Path(folder) / "spec.yml", Path(folder) / "page.html"
        spec = _fill_spec(participant_dir / "figures", participant_label)
        spec_file.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
        report = Report(
            output_dir,
            run_uuid,
            bootstrap_file=spec_file,
            out_filename=str(draft_file),
            reportlets_dir=participant_dir,
            subject=participant_label,
        )
        dress(report, spec, output_dir)
        report.generate_report()
        page = _with_viewer(draft_file.read_text(encoding="utf-8"))
        write_text(page_file, bring_policy(page))  # last: it allows the scripts that are there
    return page_file


def _with_viewer(page: str) -> str:
    """Bring the program that turns tracts, once, where the page holds such a view."""
    if 'class="tract-view"' not in page:
        return page
    script = (files("shd_bids.data") / "viewer.js").read_text(encoding="utf-8")
    body, end = page.rsplit("</body>", 1)
    return f"{body}<script>\n{script}</script>\n</body>{end}"


def find_series(figures_dir: Path) -> list[Series]:
    """List the series that have figures, in the order of their names.

    Parameters
    ----------
    figures_dir
        The participant's folder of figures.

    Returns
    -------
    list[Series]
        Pairs of short entity name and label, without ``sub`` and ``desc``; what concerns the
        whole participant is the empty series.
    """
    found = set()
    for file in figures_dir.glob("sub-*_desc-*_dwi.*"):
        parts = [part.split("-", 1) for part in file.name.split("_")[:-1]]
        found.add(tuple((key, label) for key, label in parts if key in _ENTITIES))
    return sorted(found)


def series_figures(*, without: str = "") -> list[str]:
    """List what is pictured of a series, and not of the participant as a whole.

    Parameters
    ----------
    without
        Name of a section that is left out.

    Returns
    -------
    list[str]
        In the order of the page, as names of figures have it in ``desc``.

    Examples
    --------
    >>> series_figures()[0], "summary" in series_figures()
    ('judgement', False)
    """
    return [
        reportlet["bids"]["desc"]
        for section in _read_spec()["sections"]
        if section.get("each") == "series" and section["name"] != without
        for reportlet in section["reportlets"]
    ]


def _read_spec() -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load(
        (files("shd_bids.data") / "report_spec.yml").read_text(encoding="utf-8")
    )
    return spec


def _fill_spec(figures_dir: Path, participant_label: str) -> dict[str, Any]:
    """Keep what has a figure, and repeat the sections of the series for every series."""
    spec = _read_spec()
    spec["title"] = f"shd-bids: sub-{escape(participant_label)}"
    spec["participant"] = f"sub-{participant_label}"
    spec["template_path"] = str(files("shd_bids.data") / "report.tpl")
    series = find_series(figures_dir)
    keys = {key for entities in series for key, _ in entities}
    sections = []
    for section in spec["sections"]:
        wanted = series if section.get("each") == "series" else [()]
        reportlets = [
            reportlet
            for entities in wanted
            for reportlet in _reportlets(section, entities, keys, figures_dir, participant_label)
        ]
        if reportlets:
            sections.append({"name": section["name"], "reportlets": reportlets})
    spec["sections"] = sections
    return spec


def _reportlets(
    section: dict[str, Any],
    entities: Series,
    keys: set[str],
    figures_dir: Path,
    participant_label: str,
) -> list[dict[str, Any]]:
    stem = "_".join([f"sub-{participant_label}", *(f"{key}-{label}" for key, label in entities)])
    labels = dict(entities)
    series = ", ".join(f"{_ENTITIES[key]} {label}" for key, label in entities)
    of_series = series if section.get("each") == "series" else None
    # An entity that other series have and this one lacks must be asked for as absent.
    query = {_ENTITIES[key]: _index_value(key, labels.get(key)) for key in sorted(keys)}
    reportlets: list[dict[str, Any]] = []
    for template in section["reportlets"]:
        what = template["bids"]["desc"]
        if not any(figures_dir.glob(f"{stem}_desc-{what}_dwi.*")):
            continue
        reportlet = {**template, "bids": {**template["bids"], **query}, "series": of_series}
        reportlet["name"] = re.sub(r"[^\w-]", "-", f"{stem}_desc-{what}")
        if entities and not reportlets:
            reportlet["title"] = escape(series)
        reportlets.append(reportlet)
    return reportlets


def _index_value(key: str, label: str | None) -> str | int | None:
    """Run numbers are whole numbers in the index."""
    return int(label) if key == "run" and label is not None and label.isdigit() else label
