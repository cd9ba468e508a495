"""Pages assembled anew from what earlier runs have left in the output; nothing is processed."""

import logging
from collections.abc import Sequence
from pathlib import Path

from shd_bids.bids.files import write_text
from shd_bids.config import RunConfig
from shd_bids.errors import BidsDataError
from shd_bids.reports.fragments import configuration_block
from shd_bids.reports.html import assemble_report, figure_path

from .logs import set_up_logging
from .outcome import CONFIG_NAME, METHODS_NAME, STUDY_NAME, Outcome
from .pages import write_citations

LOGGER = logging.getLogger(__name__)


def run_reports_only(config: RunConfig) -> list[Outcome]:
    """Assemble the pages that are asked for, for `--reports-only`.

    Parameters
    ----------
    config
        Settings of the run; the input and the work directory need not exist.

    Returns
    -------
    list of Outcome
        As of `remake_pages`.

    Raises
    ------
    BidsDataError
        When the output holds no participant at all.
    """
    execution = config.execution
    set_up_logging(verbosity=2 if execution.debug else execution.verbosity, log_files={})
    return remake_pages(execution.output_dir, execution.participant_labels)


def remake_pages(output_dir: Path, labels: Sequence[str] = ()) -> list[Outcome]:
    """Assemble the pages of participants from their figures, fragments and last log folder.

    What tells of a run (about, timings, configuration) stays that of the run that made it. No
    derivative is touched.

    Parameters
    ----------
    output_dir
        Root of the output dataset.
    labels
        Participants without ``sub-``; empty for all that have a folder.

    Returns
    -------
    list of Outcome
        One per participant; one of which there are no figures did not finish.

    Raises
    ------
    BidsDataError
        When the output holds no participant at all.
    """
    present = sorted(
        folder.name.removeprefix("sub-") for folder in output_dir.glob("sub-*") if folder.is_dir()
    )
    if not present:
        raise BidsDataError(
            f"--reports-only: {output_dir} holds no results: searched for folders named sub-*. "
            "Give the output folder of an earlier run."
        )
    outcomes = [_remake_page(output_dir, label) for label in (labels or present)]
    sources = [file for outcome in outcomes if (file := outcome.log_dir / STUDY_NAME).is_file()]
    if sources:  # the log folders are named by the time of their run
        newest = max(sources, key=lambda file: file.parent.name)
        write_citations(output_dir, newest.read_text(encoding="utf-8"))
    return outcomes


def _remake_page(output_dir: Path, label: str) -> Outcome:
    participant_dir = output_dir / f"sub-{label}"
    outcome = Outcome(label, _last_log_dir(participant_dir))
    if not any(participant_dir.glob("figures/*_desc-*_dwi.*")):
        outcome.messages.append(
            f"There is nothing to make a page of: searched {participant_dir / 'figures'} for "
            f"sub-{label}_*desc-*_dwi.svg, .png and .html. Run it without --reports-only."
        )
        return outcome
    config_file, methods_file = outcome.log_dir / CONFIG_NAME, outcome.log_dir / METHODS_NAME
    block_file = output_dir / figure_path({"sub": label}, "configuration", ".html")
    if config_file.is_file() and not block_file.is_file():
        write_text(block_file, configuration_block(config_file.read_text(encoding="utf-8")))
    methods = methods_file.read_text(encoding="utf-8") if methods_file.is_file() else ""
    page = assemble_report(output_dir, label, outcome.log_dir.name, methods=methods)
    LOGGER.info("sub-%s: report %s", label, page)
    outcome.finished = True
    return outcome


def _last_log_dir(participant_dir: Path) -> Path:
    """Give the log folder of the last run; one that does not exist where there is none."""
    runs = sorted(file.parent for file in participant_dir.glob(f"log/*/{CONFIG_NAME}"))
    return runs[-1] if runs else participant_dir / "log" / "none"
