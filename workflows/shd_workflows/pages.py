"""A participant's page, assembled when the graph has ended, whatever its end was."""

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from shd_bids import __version__
from shd_bids.bids.files import dataset_lock, write_text
from shd_bids.reports.dress import OVERVIEW_MARK
from shd_bids.reports.fragments import (
    alert,
    configuration_block,
    data_table,
    fact_table,
    state_line,
)
from shd_bids.reports.html import assemble_report, figure_path
from shd_bids.reports.methods import write_citation
from shd_bids.reports.versions import software_versions

from .plan import SeriesPlan
from .plugin import readable_name
from .stages import usage_tables
from .usage import StepUse

LOGGER = logging.getLogger(__name__)


def write_page(
    *,
    output_dir: Path,
    label: str,
    run_id: str,
    plans: Sequence[SeriesPlan],
    messages: Sequence[str],
    steps: Mapping[str, StepUse],
    resources_text: str,
    machine: Mapping[str, str],
    earlier: Sequence[str],
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
    steps
        Time and memory by the full name of each node that ran.
    resources_text
        What was used of the machine, in a sentence.
    machine
        Operating system, processor, container and card by name.
    earlier
        Figures that this run did not make, as `shd_workflows.manifest.earlier_figures` lists them.
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
        "summary": _summary(plans, messages),
        "about": fact_table(
            {
                "shd-bids": __version__,
                "Command": " ".join(sys.argv),
                "Date": time.strftime("%Y-%m-%d %H:%M"),
                "Resources": resources_text,
                **machine,
                **software_versions(programs_of(plans)),
            }
        ),
        "timings": usage_tables(steps, {name: readable_name(name) for name in steps}),
        "configuration": configuration_block(toml),
    }
    if earlier:
        said = f"Of earlier runs, and not made again by this one: {', '.join(earlier)}."
        fragments["summary"] += alert(said, "warning")
    if not steps:  # all was taken over: what is told of the run that made it stays
        fragments.pop("timings")
    for what, fragment in fragments.items():
        write_text(output_dir / figure_path({"sub": label}, what, ".html"), fragment)
    page = assemble_report(output_dir, label, run_id, methods=methods)
    LOGGER.info("sub-%s: report %s", label, page)
    return page


def programs_of(plans: Sequence[SeriesPlan]) -> list[str]:
    """List the programs, beside the libraries, that some series make use of."""
    used = {
        "MRtrix3": any(plan.weights == "sift2" for plan in plans),
        "FSL": any(plan.geometry is not None and plan.geometry.sdc == "topup" for plan in plans),
    }
    return [name for name, is_used in used.items() if is_used]


def write_citations(output_dir: Path, methods: str) -> Path:
    """Write the methods text and its references for the dataset; give the text's file."""
    with dataset_lock(output_dir):
        write_citation(methods, output_dir / "logs")
    return output_dir / "logs" / "CITATION.md"


def _summary(plans: Sequence[SeriesPlan], messages: Sequence[str]) -> str:
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
    table = data_table(columns, rows) if rows else ""
    return "\n".join([state_line(messages), OVERVIEW_MARK, table])
