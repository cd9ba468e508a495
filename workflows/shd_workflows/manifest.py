"""Which files a graph may write, known before it runs, and which are left of earlier runs."""

from collections.abc import Collection
from pathlib import Path

from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.bids.names import BidsName
from shd_bids.errors import OutputError
from shd_bids.interfaces.derivatives import SaveDerivatives
from shd_bids.reports.html import series_figures


def planned_files(workflow: LiterateWorkflow) -> dict[str, str]:
    """List the files that the sinks of a graph may write, without their sidecars.

    Parameters
    ----------
    workflow
        Of one participant.

    Returns
    -------
    dict[str, str]
        Names of the sinks within the graph by paths relative to the output dataset. What only the
        data decide is among them: tissues that are not told apart, bundles that are not found.

    Raises
    ------
    OutputError
        If two sinks would write one file.
    """
    planned: dict[str, str] = {}
    for name in workflow.list_node_names():
        node = workflow.get_node(name)
        if not isinstance(node.interface, SaveDerivatives):
            continue
        for path in node.inputs.paths.values():
            if path in planned:
                raise OutputError(
                    f"Two series of one participant would write {path}. Choose one of them with "
                    "--bids-filter-file, and give the other an output folder of its own."
                )
            planned[path] = name
    return dict(sorted(planned.items()))


def earlier_figures(figures_dir: Path, made: Collection[str]) -> list[str]:
    """List the figures on a participant's page that this run does not make.

    Parameters
    ----------
    figures_dir
        The participant's folder of figures.
    made
        Paths that this run wrote or may have written, relative to the output dataset.

    Returns
    -------
    list[str]
        What they show, as in ``ses-a fodf``; those of the participant as a whole are left out,
        because every run writes them.
    """
    names = {Path(path).name for path in made}
    of_series, found = series_figures(), []
    for file in sorted(figures_dir.glob("sub-*_dwi.*")):
        name = BidsName.parse(file)
        if name is None or file.name in names:
            continue
        labels = [f"{key}-{label}" for key, label in name.entities.items()]
        if len(labels) > 2 or name.entities.get("desc") in of_series:
            found.append(" ".join([*labels[1:-1], name.entities.get("desc", "")]))
    return sorted(set(found))
