"""What follows the last step of a participant: it is judged, gets its page, and leaves the disk."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.bids.files import write_text
from shd_bids.config import RunConfig, config_text

from .boilerplate import (
    Sections,
    found_text,
    participant_methods,
    participant_sections,
    study_methods,
)
from .disk import account_for, clean_after, is_to_be_cleaned
from .manifest import earlier_figures
from .outcome import METHODS_NAME, STUDY_NAME, Outcome, judge_outcomes, surviving_disk
from .own_results import own_figures
from .pages import write_citations, write_page
from .participant import participant_wf_name
from .plugin import ResilientPlugin, branch_of
from .workdir import recall_steps

LOGGER = logging.getLogger(__name__)


class Closing:
    """Close each participant when all of its steps have come to a good end, and the others last.

    A night with a hundred participants thereby shows its first page when the first is done, and
    needs room for the intermediate results of a few.

    Parameters
    ----------
    config
        Settings with resources and device resolved.
    outcomes
        All participants of the run.
    workflow
        Their graph.
    plugin
        That runs it.
    run_id
        Name of the run's log folders.
    resources_text
        What was chosen for resources, in a sentence.
    machine
        Facts by name, for the page.
    container
        That the program runs in.
    """

    def __init__(
        self,
        config: RunConfig,
        outcomes: Sequence[Outcome],
        workflow: LiterateWorkflow,
        plugin: ResilientPlugin,
        *,
        run_id: str,
        resources_text: str,
        machine: Mapping[str, str],
        container: Mapping[str, str] | None = None,
    ) -> None:
        self._config, self._outcomes = config, outcomes
        self._workflow, self._plugin = workflow, plugin
        self._run_id, self._resources_text = run_id, resources_text
        self._machine, self._container = machine, container
        self._named = {participant_wf_name(outcome.label): outcome for outcome in outcomes}
        self._n_left: Counter[str] = Counter()  # steps, by participant
        self._sections: dict[str, Sections] = {}  # by label, of those that are closed

    def hear(self, node_name: str) -> None:
        """Close the participant of a step that has come to a good end, if no other is left.

        Parameters
        ----------
        node_name
            By its full name; the plugin does not count it as unfinished any more.
        """
        if not self._n_left:
            self._n_left.update(map(branch_of, [*self._plugin.unfinished, node_name]))
        branch = branch_of(node_name)
        self._n_left[branch] -= 1
        # nipype's monitor reads the results of all steps when the last of all has ended
        if not self._n_left[branch] and not self._config.execution.resource_monitor:
            self._close(self._named[branch])

    def close_all(self) -> None:
        """Close those that have not been, and write the methods text of the dataset."""
        for outcome in self._outcomes:
            if outcome.label not in self._sections:
                self._close(outcome)
        methods = study_methods(
            {outcome.label: self._sections[outcome.label] for outcome in self._outcomes},
            container=self._container,
            failed=[outcome.label for outcome in self._outcomes if not outcome.finished],
        )
        if not methods:
            return
        for outcome in self._outcomes:
            with surviving_disk(outcome.lose_report):
                write_text(outcome.log_dir / STUDY_NAME, methods)
        with surviving_disk(*(outcome.lose_report for outcome in self._outcomes)):
            write_citations(self._config.execution.output_dir, methods)

    def _close(self, outcome: Outcome) -> None:
        self._sections[outcome.label] = participant_sections(
            self._workflow, outcome.label, outcome.plans, self._config
        )
        judge_outcomes([outcome], self._plugin)
        said = account_for(outcome, self._config)
        to_be_cleaned = is_to_be_cleaned(outcome, self._config)
        try:
            with surviving_disk(outcome.lose_report):
                self._write(outcome, said)
        except Exception as error:  # what is wrong with one page must not cost others their steps
            LOGGER.debug("sub-%s: the page failed.", outcome.label, exc_info=True)
            outcome.lose_report(f"{type(error).__name__}: {error}")
        if not outcome.plans:
            return
        if is_to_be_cleaned(outcome, self._config):  # not before the page is there
            clean_after(outcome, self._config)
        elif to_be_cleaned:  # the page is lost
            said = account_for(outcome, self._config)
        LOGGER.info("sub-%s: %s.", outcome.label, said)

    def _write(self, outcome: Outcome, work_dir_text: str) -> None:
        """Write a participant's methods text and page."""
        config, output_dir = self._config, self._config.execution.output_dir
        found = ""
        if outcome.finished:
            estimated = not config.response.files
            found = found_text(output_dir, outcome.plans, estimated=estimated)
        methods = participant_methods(
            self._sections[outcome.label],
            container=self._container,
            found=found,
            failed=not outcome.finished,
        )
        if methods:  # nothing was done to a participant that stopped at once
            write_text(outcome.log_dir / METHODS_NAME, methods)
        steps = recall_steps(config.execution.work_dir)
        figures_dir = output_dir / f"sub-{outcome.label}" / "figures"
        made = [*outcome.made, *own_figures(outcome.plans)]
        write_page(
            output_dir=output_dir,
            label=outcome.label,
            run_id=self._run_id,
            plans=outcome.plans,
            messages=outcome.messages,
            steps={name: use for name, use in steps.items() if outcome.owns(name)},
            resources_text=self._resources_text,
            machine={**self._machine, "Work directory": work_dir_text},
            earlier=earlier_figures(figures_dir, made),
            toml=config_text(config),
            methods=methods,
        )
