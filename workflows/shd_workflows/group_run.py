"""Run the group level: what a study's participants have in common, and its page."""

import logging
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids import __version__
from shd_bids.bids.dataset import read_filter_file
from shd_bids.bids.files import write_text
from shd_bids.bids.json_files import read_json_object
from shd_bids.bids.study import read_study
from shd_bids.config import LEVELS, RunConfig, config_text
from shd_bids.reports.fragments import duration
from shd_bids.reports.methods import write_citation
from shd_bids.reports.study.page import StudyNetwork, write_study_report
from shd_bids.response.io import read_response

from .group import group_wf_name, init_group_wf, network_model, network_path, response_path
from .group_scans import StudyKind, collect_scans, find_participants, sort_by_kind
from .holds import hold_group_output
from .logs import set_up_logging
from .memory import tell_large_steps
from .outcome import CONFIG_NAME, each_reason_once, surviving_disk
from .run import configure_nipype, execute, make_plugin, new_run_id, write_dataset
from .task import TaskSettings
from .workdir import hold_group, prepare_work_dir

LOGGER = logging.getLogger(__name__)
_N_NAMED = 8  # on the page


@dataclass
class GroupOutcome:
    """How the group level ended.

    Attributes
    ----------
    labels
        Participants that were meant.
    n_series
        Series that are in it.
    left_out
        Why a participant or a series is not in it.
    messages
        What failed.
    crash_files
        Of this run.
    citation_file
        Methods text of the study, if there is any.
    """

    labels: list[str]
    n_series: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    crash_files: list[Path] = field(default_factory=list)
    citation_file: Path | None = None

    @property
    def finished(self) -> bool:
        """Whether all was done, with everybody."""
        return not self.left_out and not self.messages

    def lose_report(self, said: str) -> None:
        """Note that the page could not be written."""
        self.messages.append(said)
        LOGGER.error("The report cannot be written: %s", said)


def run_group(
    config: RunConfig,
    *,
    resources_text: str,
    gpus: Sequence[str] = (),
    container: Mapping[str, str] | None = None,
) -> GroupOutcome:
    """Average the responses of a study, train its network and write its page.

    Participants that cannot be used are left out and named; the others go on.

    Parameters
    ----------
    config
        Settings with resources and device resolved.
    resources_text
        What was chosen for resources, in a sentence.
    gpus
        Ids of the cards to use, as CUDA_VISIBLE_DEVICES takes them.
    container
        That the program runs in, as `shd_bids.bids.description.dataset_description` takes it.

    Returns
    -------
    GroupOutcome
        What was left out or failed.

    Raises
    ------
    ShdBidsError
        When nothing can be run at all.
    """
    execution = config.execution
    verbosity = 2 if execution.debug else execution.verbosity
    log_dir = execution.output_dir / "group/log" / new_run_id()
    prepare_work_dir(execution.work_dir, bids_dir=execution.bids_dir, clean=execution.clean_workdir)
    write_dataset(config, container)
    with hold_group(execution.work_dir), hold_group_output(execution.output_dir):
        write_text(log_dir / CONFIG_NAME, config_text(config))
        log_files = {"group": log_dir / "shd-bids.log"}
        set_up_logging(verbosity=verbosity, log_files=log_files)
        LOGGER.info("shd-bids %s, group level. %s", __version__, resources_text)
        filters = read_filter_file(execution.bids_filter_file) if execution.bids_filter_file else {}
        outcome = GroupOutcome(find_participants(execution))
        kinds = _find_kinds(config, outcome, filters)
        configure_nipype(config)
        workflow = LiterateWorkflow(name="shd_bids_wf", base_dir=str(execution.work_dir))
        for kind in kinds:
            workflow.add_nodes([init_group_wf(kind=kind, config=config, gpus=gpus)])
        for node in workflow._get_all_nodes():
            node.config = {"execution": {"crashdump_dir": str(log_dir)}}
        methods = workflow.visit_desc() if kinds else ""
        if methods.strip():
            write_citation(methods, execution.output_dir / "group")
            outcome.citation_file = execution.output_dir / "group/CITATION.md"
        if execution.boilerplate_only:
            return outcome
        if execution.reports_only or not kinds:
            done = [kind for kind in kinds if _is_there(config, kind)]
        else:
            settings = TaskSettings(log_files=log_files, verbosity=verbosity, gpus=tuple(gpus))
            done = _execute(config, workflow, kinds, settings, outcome)
            outcome.crash_files = sorted(log_dir.glob("crash-*"))
        _judge_networks(config, done, outcome)
        with surviving_disk(outcome.lose_report):
            _report(config, done, outcome, methods, resources_text)
    return outcome


def _execute(
    config: RunConfig,
    workflow: LiterateWorkflow,
    kinds: Sequence[StudyKind],
    settings: TaskSettings,
    outcome: GroupOutcome,
) -> list[StudyKind]:
    """Run the graph, note what failed, and give the kinds of scans whose graph came to its end."""
    tell_large_steps(workflow, config)
    plugin = make_plugin(config, settings)
    execute(workflow, plugin)
    outcome.messages += each_reason_once([failure.message for failure in plugin.failures])
    if plugin.unfinished and not outcome.messages:
        why = f" {plugin.halted}" if plugin.halted else ""
        outcome.messages.append(f"{len(plugin.unfinished)} steps were not run.{why}")
    unfinished = {part for name in plugin.unfinished for part in name.split(".")}
    return [kind for kind in kinds if group_wf_name(kind) not in unfinished]


def _is_there(config: RunConfig, kind: StudyKind) -> bool:
    """Tell whether an earlier run has made what this one would make of a kind of scans."""
    model = network_model(config)
    paths = [response_path(kind, tissue) for tissue in kind.tissues]
    paths += [network_path(kind, model, ".json")] if model else []
    return all((config.execution.output_dir / path).is_file() for path in paths)


def _find_kinds(config: RunConfig, outcome: GroupOutcome, filters: dict) -> list[StudyKind]:
    """Find the scans, and say what there is."""
    if config.execution.level == LEVELS[0]:
        return []
    found = collect_scans(config.execution, config.preproc, outcome.labels, filters)
    outcome.left_out, outcome.n_series = found.left_out, len(found.scans)
    kinds = sort_by_kind(found.scans)
    for kind in kinds:
        LOGGER.info("%s: %d series (%s).", kind.folder, len(kind.scans), kind.name)
    if not kinds:
        outcome.messages.append(
            f"{config.execution.output_dir} holds no series with a response. Run the participant "
            "level first, with --level response at least."
        )
    return kinds


def _judge_networks(config: RunConfig, kinds: Sequence[StudyKind], outcome: GroupOutcome) -> None:
    """Name the scans that could not be read when a network was trained."""
    for kind in kinds:
        for loss in _read_network(config, kind).get("Losses", []):
            if "failed" in loss:
                outcome.left_out[loss["series"]] = (
                    f"it is in the averages, but not in the network: {loss['failed']}"
                )


def _report(
    config: RunConfig,
    kinds: Sequence[StudyKind],
    outcome: GroupOutcome,
    methods: str,
    resources_text: str,
) -> None:
    """Write the page of the study, with what this run made for it."""
    output_dir = config.execution.output_dir
    networks = [
        _describe_network(kind.name if len(kinds) > 1 else "", fields)
        for kind in kinds
        if (fields := _read_network(config, kind))
    ]
    averages = [
        {
            tissue: (average.bvals, average.coefficients)
            for tissue in kind.tissues
            for average in [
                read_response(
                    output_dir / response_path(kind, tissue), tissue, np.array(kind.shell_bvals)
                )
            ]
        }
        for kind in kinds
    ]
    study = read_study(output_dir, outcome.labels)
    if config.execution.level == LEVELS[0]:  # no scan was looked for, and none left out
        outcome.n_series = len(study.series)
    page = write_study_report(
        output_dir,
        study,
        averages=averages,
        networks=networks,
        messages=[*outcome.messages, *_say_left_out(outcome.left_out)],
        methods=methods,
        facts={"Command": shlex.join(sys.argv), "Resources": resources_text},
    )
    LOGGER.info("The study's report: %s", page)


def _say_left_out(left_out: Mapping[str, str]) -> list[str]:
    """Say who is not in averages and networks, or not in the networks alone, and why."""
    said = [f"{name} is left out: {reason}" for name, reason in left_out.items()]
    if len(said) <= _N_NAMED:
        return said
    return [
        *said[:_N_NAMED],
        f"{len(said) - _N_NAMED} more are left out: see the log in group/log.",
    ]


def _read_network(config: RunConfig, kind: StudyKind) -> dict[str, Any]:
    """Read what was written about the network of some scans; nothing where there is none."""
    model = network_model(config)
    if model is None:
        return {}
    return read_json_object(config.execution.output_dir / network_path(kind, model, ".json"))


def _describe_network(name: str, fields: dict[str, Any]) -> StudyNetwork:
    training, settings = fields["Training"], fields["Settings"]
    used = [loss for loss in fields["Losses"] if "failed" not in loss]
    return StudyNetwork(
        name=name,
        losses={loss["series"]: loss["total"] for loss in used},
        steps=training["step"],
        course=training["loss"]["total"],
        facts={
            "Model": fields["Model"]["Description"],
            "Preset": settings["preset"],
            "Series": f"{len(used)} of {len(fields['Losses'])}",
            "Steps": settings["network"]["steps"],
            "Time to train": duration(settings["training_seconds"]),
            "Device": f"{settings['device']}, {settings['precision']}",
        },
    )
