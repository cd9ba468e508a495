"""The methods text of a run: of a participant, and of the dataset where participants differ.

Each graph describes itself (``__desc__``); here their paragraphs are put into the order of the data
and under headings, and what is the same for several series, or several participants, is said once.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids import __version__
from shd_bids.bids.json_files import read_json_object
from shd_bids.bids.names import derivative_path
from shd_bids.config import TISSUES, RunConfig
from shd_bids.errors import BidsDataError
from shd_bids.reports.methods import join_words
from shd_bids.reports.versions import container_name, library_version, software_versions

from .derivatives import model_label
from .participant import participant_wf_name
from .plan import SeriesPlan
from .stages import stage_of

#: Paragraphs of one series, or of one participant, by heading.
Sections = dict[str, str]

_HEADINGS = {
    "Preprocessing": "Preprocessing",
    "Anatomy": "Structural image",
    "Response": "Fibre orientations",
    "Atlases": "Atlases and spaces",
    "Other spaces": "Atlases and spaces",
    "Tractography": "Tractography",
}
_ORDER = ("Diffusion data", *dict.fromkeys(_HEADINGS.values()))
_MAPS = (
    "Peaks above a fifth of the largest were found. Maps of the apparent fibre density [@afd], the "
    "number of fibre orientations [@nufo], the generalised fractional anisotropy [@gfa] and of "
    "directionally encoded colour [@dec] were computed. "
)
_N_NAMED = 12  # of participants, in a sentence


def participant_sections(
    workflow: LiterateWorkflow, label: str, plans: Sequence[SeriesPlan], config: RunConfig
) -> Sections:
    """Describe what is done with a participant, what its series share only once.

    Parameters
    ----------
    workflow
        Of all participants.
    label
        Participant, without ``sub-``.
    plans
        Its series.
    config
        Settings of the run.

    Returns
    -------
    dict
        By heading; empty if the participant has no graph.
    """
    participant_wf = workflow.get_node(participant_wf_name(label))
    if participant_wf is None or not plans:
        return {}
    series = {
        _series_name(plan): _series_sections(participant_wf.get_node(plan.name), plan, config)
        for plan in plans
    }
    return {
        heading: _tell({name: found.get(heading, "") for name, found in series.items()})
        for heading in _ORDER
        if any(heading in found for found in series.values())
    }


def participant_methods(
    sections: Sections,
    *,
    container: Mapping[str, str] | None = None,
    found: str = "",
    failed: bool = False,
) -> str:
    """Write the methods of one participant.

    Parameters
    ----------
    sections
        As `participant_sections` gives them.
    container
        That the program ran in.
    found
        What came out, as `found_text` says it.
    failed
        Whether something was not finished.

    Returns
    -------
    str
        Markdown with citation keys; empty without sections.
    """
    if not sections:
        return ""
    warning = (
        "**Not all of this was done; the errors say why.** The text tells what was asked for.\n\n"
        if failed
        else ""
    )
    return warning + _write(sections, container) + (f"\n\n### Outcome\n\n{found}" if found else "")


def study_methods(
    sections: Mapping[str, Sections],
    *,
    container: Mapping[str, str] | None = None,
    failed: Sequence[str] = (),
) -> str:
    """Write the methods of all participants, and for whom a paragraph holds where they differ.

    Parameters
    ----------
    sections
        By participant, without ``sub-``.
    container
        That the program ran in.
    failed
        Participants that were not finished.

    Returns
    -------
    str
        Markdown with citation keys; empty if nobody has sections.

    Examples
    --------
    >>> text = study_methods({"01": {"Tractography": "By A."}, "02": {"Tractography": "By B."}})
    >>> text.split("### Tractography")[1].split()[:8]
    ['*In', 'sub-01:*', 'By', 'A.', '*In', 'sub-02:*', 'By', 'B.']
    """
    described = {f"sub-{label}": found for label, found in sections.items() if found}
    if not described:
        return ""
    unfinished = [f"sub-{label}" for label in failed]
    finished = {who: found for who, found in described.items() if who not in unfinished}
    described = finished or described
    told = {
        heading: _tell({who: found.get(heading, "") for who, found in described.items()})
        for heading in _ORDER
        if any(heading in found for found in described.values())
    }
    text = _write(told, container)
    if not unfinished:
        return text
    named = _name(unfinished, len(sections))
    return f"{text}\n\n**Not finished, so that the text does not hold for them:** {named}."


def found_text(output_dir: Path, plans: Sequence[SeriesPlan], *, estimated: bool = True) -> str:
    """Say in numbers what came out of a participant's series, as their sidecars have it.

    Parameters
    ----------
    output_dir
        Root of the output dataset.
    plans
        Series of the participant.
    estimated
        Whether responses were estimated in this run; those of an earlier one may lie there.

    Returns
    -------
    str
        A sentence or two for each series; empty where nothing is there.
    """
    told = {_series_name(plan): _series_found(output_dir, plan, estimated) for plan in plans}
    return _tell(told) if any(told.values()) else ""


def _write(sections: Sections, container: Mapping[str, str] | None) -> str:
    inside = f" (in the container {container_name(container)})" if container else ""
    versions = software_versions()
    text = (
        f"The results come from *shd-bids* {__version__}{inside}, a BIDS App [@bidsapps] for "
        f"Python {versions['Python'].split()[0]} built on *Nipype* {versions['Nipype']} [@nipype] "
        f"and *DIPY* {library_version('DIPY')} [@dipy], from data organised by the Brain Imaging "
        "Data Structure [@bids]. "
    )
    return text + "".join(f"\n\n### {heading}\n\n{body}" for heading, body in sections.items())


def _series_sections(series_wf: LiterateWorkflow, plan: SeriesPlan, config: RunConfig) -> Sections:
    """Put the paragraphs of a series' graphs under their headings."""
    sections = {"Diffusion data": _describe_data(plan, config)}
    paragraphs: dict[str, list[str]] = {}
    for graph in _children(series_wf):
        text = re.sub(r"^\s*###.*$", "", graph.visit_desc(), flags=re.MULTILINE).strip()
        heading = _HEADINGS.get(stage_of(f"{graph.name}.node"), "Fibre orientations")
        if text:
            paragraphs.setdefault(heading, []).append(text)
    has_model = any(series_wf.get_node(f"{model_label(m)}_wf") for m in plan.models)
    if has_model:
        paragraphs["Fibre orientations"].append(_MAPS)
    return sections | {name: " ".join(texts) for name, texts in paragraphs.items()}


def _children(series_wf: LiterateWorkflow) -> list[LiterateWorkflow]:
    """List the graphs of a series in the order in which they were put in."""
    return [node for node in series_wf._graph.nodes() if isinstance(node, LiterateWorkflow)]


def _describe_data(plan: SeriesPlan, config: RunConfig) -> str:
    preproc = config.preproc
    edges = " x ".join(f"{round(edge, 2):g}" for edge in plan.voxel_mm)
    counts = plan.shell_counts or ("some",) * len(plan.shell_bvals)
    shells = [
        f"{count} at b = {bval:.0f}" for bval, count in zip(plan.shell_bvals, counts, strict=True)
    ]
    return (
        f"The diffusion series has voxels of {edges} mm³ and {plan.shape[3]} volumes: "
        f"{join_words(shells)} s/mm². Values of b up to {preproc.b0_threshold:g} s/mm² were taken "
        f"for b = 0, and those within {preproc.shell_tolerance:g} s/mm² of each other for one "
        "shell. "
    )


def _series_found(output_dir: Path, plan: SeriesPlan, estimated: bool) -> str:
    series, sentences = plan.series, []
    folder = output_dir / derivative_path(series.entities, suffix="dwi", extension=".json").parent
    stem = f"{series.source_stem}_space-{series.space_label}"
    for tissue in TISSUES if estimated else ():
        file = f"{stem}_param-response_label-{tissue}_dwimap.json"
        count = _field(folder, file, "Settings").get("NumberOfVoxels")
        if count is not None:
            sentences.append(f"The response of {tissue} is a mean over {count:,} voxels.")
    for model in plan.models:
        file = f"{stem}_model-{model_label(model)}_param-fod_label-WM_dwimap.json"
        settings = _field(folder, file, "Settings")
        if "n_parameter" in settings:
            terms = settings.get("loss_weights", {})
            named = [f"{key.replace('_', ' ')} {value:g}" for key, value in terms.items()]
            loss = f"; the terms of its loss were weighted: {join_words(named)}" if named else ""
            sentences.append(f"The network had {settings['n_parameter']:,} parameters{loss}.")
    tracked = f"{stem}_model-{model_label(plan.models[0])}_track-*_tractogram.json"
    count = _field(folder, tracked, "StreamlineCount")
    if count:
        sentences.append(f"{count:,} streamlines were kept.")
    return " ".join(sentences)


def _field(folder: Path, pattern: str, key: str) -> Any:
    """Read one field of the sidecar that has it; an empty one if there is none."""
    for file in sorted(folder.glob(pattern)):
        try:
            value = read_json_object(file).get(key)
        except BidsDataError:  # removed by another run meanwhile, or damaged
            continue
        if value is not None:
            return value
    return {}


def _series_name(plan: SeriesPlan) -> str:
    """Name a series by what tells it from others of its participant."""
    words = [f"{key}-{label}" for key, label in plan.series.entities.items() if key != "sub"]
    return " ".join(words) or "the series"


def _tell(texts: Mapping[str, str]) -> str:
    """Say what is common once; else each text with the names that it holds for."""
    holders: dict[str, list[str]] = {}
    for name, text in texts.items():
        holders.setdefault(text.strip(), []).append(name)
    if len(holders) == 1:
        return next(iter(holders))
    absent = "This was not done. "
    return "\n\n".join(
        f"*In {_name(names, len(texts))}:* {text or absent}" for text, names in holders.items()
    )


def _name(names: Sequence[str], n_all: int) -> str:
    """Name a few; count many.

    Examples
    --------
    >>> _name(["a", "b"], 9)
    'a and b'
    >>> _name([f"sub-{i:03}" for i in range(40)], 90)
    'sub-000, sub-001, sub-002 and 37 others (40 of 90)'
    """
    if len(names) <= _N_NAMED:
        return join_words(names)
    few = ", ".join(names[:3])
    return f"{few} and {len(names) - 3} others ({len(names)} of {n_all})"
