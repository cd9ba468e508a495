"""A participant's page, assembled when the graph has ended, whatever its end was."""

import logging
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from shd_bids import __version__
from shd_bids.bids.files import dataset_lock, write_text
from shd_bids.reports.fragments import (
    configuration_block,
    data_table,
    fact_table,
    timings_table,
)
from shd_bids.reports.html import assemble_report, figure_path
from shd_bids.reports.methods import write_citation

from .plan import SeriesPlan
from .plugin import readable_name

LOGGER = logging.getLogger(__name__)
_LIBRARIES = ("dipy", "nipype", "niworkflows", "numpy", "torch")


def write_page(
    *,
    output_dir: Path,
    label: str,
    run_id: str,
    plans: Sequence[SeriesPlan],
    messages: Sequence[str],
    seconds: Mapping[str, float],
    resources_text: str,
    toml: str,
    methods: str,
) -> Path:
    """Write what concerns the participant as a whole, then assemble the page.

    Parameters
    ----------
    output_dir
        Root of the output dataset.
    label
        Participant, without ``sub-``.
    run_id
        Name of this run's log folder.
    plans
        Series of the participant.
    messages
        What went wrong, in a sentence each.
    seconds
        Wall time by the full name of each node that ran.
    resources_text
        What was used of the machine, in a sentence.
    toml
        The resolved configuration.
    methods
        The methods text, Markdown with citation keys.

    Returns
    -------
    Path
        The page.
    """
    fragments = {
        "summary": _summary(label, plans, messages),
        "about": fact_table(
            {
                "shd-bids": __version__,
                "Command": " ".join(sys.argv),
                "Date": time.strftime("%Y-%m-%d %H:%M"),
                "Machine": resources_text,
                "Python": platform.python_version(),
                **{name: version(name) for name in _LIBRARIES},
            }
        ),
        "timings": timings_table({readable_name(name): value for name, value in seconds.items()}),
        "configuration": configuration_block(toml),
    }
    if not seconds:  # all was taken over: what is told of the run that made it stays
        fragments.pop("timings")
    for what, fragment in fragments.items():
        write_text(output_dir / figure_path({"sub": label}, what, ".html"), fragment)
    page = assemble_report(output_dir, label, run_id, methods=methods)
    LOGGER.info("sub-%s: report %s", label, page)
    return page


def write_citations(output_dir: Path, methods: str) -> Path:
    """Write the methods text and its references for the dataset; give the text's file."""
    with dataset_lock(output_dir):
        write_citation(methods, output_dir / "logs")
    return output_dir / "logs" / "CITATION.md"


def _summary(label: str, plans: Sequence[SeriesPlan], messages: Sequence[str]) -> str:
    rows = [
        [
            plan.series.source_stem,
            len(plan.series.source_files),
            " x ".join(str(n) for n in plan.shape[:3]),
            plan.shape[3],
            ", ".join(f"{bval:g}" for bval in plan.shell_bvals),
            ", ".join(plan.models),
        ]
        for plan in plans
    ]
    columns = ["series", "images", "voxels", "volumes", "shells, s/mm²", "models"]
    state = "failed: " + " ".join(messages) if messages else "finished"
    table = fact_table({"Participant": f"sub-{label}", "State": state})
    return table + (data_table(columns, rows) if rows else "")
