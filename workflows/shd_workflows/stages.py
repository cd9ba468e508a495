"""Time and memory of a run by stage, for the page."""

from collections.abc import Mapping

from shd_bids.config import FOD_MODELS
from shd_bids.reports.figures.style import model_name
from shd_bids.reports.fragments import data_table, duration, fold, note

from .derivatives import model_label
from .usage import StepUse

_ORDER = ("Preprocessing", "Anatomy", "Atlases", "Other spaces", "Response", "Model",
          "Tractography", "Files", "Figures")  # fmt: skip


def stage_of(node_name: str) -> str:
    """Name the stage of a step by the graph that it stands in.

    Examples
    --------
    >>> stage_of("shd_bids_wf.sub_01_wf.dwi_wf.shdtv_wf.fit_fodf")
    'SHD-TV'
    >>> stage_of("shd_bids_wf.sub_01_wf.dwi_wf.preproc_report_wf.plot_mask")
    'Figures'
    >>> stage_of("shd_bids_wf.sub_01_wf.dwi_wf.preproc_wf.geometry_wf.resample_dwi")
    'Preprocessing'
    """
    graphs = node_name.split(".")[:-1]
    inner = next((part for part in reversed(graphs) if _kind(part)), "")
    return _kind(inner) or "Preprocessing"


def usage_tables(steps: Mapping[str, StepUse], names: Mapping[str, str]) -> str:
    """Write time and memory by stage and, folded, by step.

    Parameters
    ----------
    steps
        By full name of the node, in the order of the run.
    names
        What to call each.

    Returns
    -------
    str
        HTML.
    """
    if not steps:
        return note("No step was run.")
    stages: dict[str, list[StepUse]] = {}
    for name, use in steps.items():
        stages.setdefault(stage_of(name), []).append(use)
    rows = [_row(stage, stages[stage]) for stage in sorted(stages, key=_place)]
    rows.append(_row("all", list(steps.values())))
    columns = ["stage", "steps", "time", "peak memory, GB", "declared, GB"]
    single = [[names[name], *_row("", [use])[2:]] for name, use in steps.items()]
    all_steps = data_table(["step", *columns[2:]], single)
    return data_table(columns, rows) + fold(f"All {len(steps)} steps", all_steps)


def _kind(graph: str) -> str:
    if graph.endswith("_report_wf"):
        return "Figures"
    if graph.endswith("_derivatives_wf"):
        return "Files"
    if graph.startswith("atlas_"):
        return "Atlases"
    if graph.startswith("space_"):
        return "Other spaces"
    stages = {"preproc": "Preprocessing", "anat": "Anatomy", "response": "Response",
              "tractography": "Tractography"}  # fmt: skip
    models = {model_label(model): model_name(model_label(model)) for model in FOD_MODELS}
    return (stages | models).get(graph.removesuffix("_wf"), "")


def _place(stage: str) -> tuple[int, str]:
    """Order stages as the data pass them; models stand together."""
    return _ORDER.index(stage if stage in _ORDER else "Model"), stage


def _row(label: str, uses: list[StepUse]) -> list[object]:
    peaks = [use.peak_gb for use in uses if use.peak_gb is not None]
    declared = [use.mem_gb for use in uses if use.mem_gb is not None]
    return [
        label,
        len(uses),
        duration(sum(use.seconds for use in uses)),
        *(round(max(values), 2) if values else "not known" for values in (peaks, declared)),
    ]
