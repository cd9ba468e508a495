"""Run the graph over all participants, and say for each how it ended."""

import logging
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from nipype import config as nipype_config
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids import __version__
from shd_bids.bids.dataset import (
    read_dataset_description,
    read_filter_file,
    select_participants,
)
from shd_bids.bids.description import dataset_description, write_dataset_files
from shd_bids.bids.files import write_text
from shd_bids.bids.space import explain_write_error, is_disk_error
from shd_bids.config import RunConfig, config_text
from shd_bids.errors import OutputError, ShdBidsError
from shd_bids.interfaces.process import run_tool
from shd_bids.reports.versions import machine_facts

from .boilerplate import participant_sections, study_methods
from .closing import Closing
from .disk import tell_lack
from .holds import hold_outputs
from .logs import set_up_logging
from .manifest import planned_files
from .memory import refuse_impossible, steps_gb, tell_large_steps
from .open_files import allow_open_files
from .outcome import CONFIG_NAME, Outcome
from .own_results import is_identity
from .pages import write_citations
from .participant import init_participant_wf, participant_wf_name
from .plan import plan_series
from .plugin import ResilientPlugin
from .signals import Interrupted
from .slurm import SlurmPlugin
from .sources import Source, dataset_links, open_source, suggest_own
from .task import TaskSettings
from .workdir import hold_participants, prepare_work_dir, remember_step

LOGGER = logging.getLogger(__name__)


def run_participants(
    config: RunConfig,
    *,
    resources_text: str,
    gpus: Sequence[str] = (),
    container: Mapping[str, str] | None = None,
    gpu_facts: Mapping[str, str] | None = None,
) -> list[Outcome]:
    """Run every participant as far as it can be run.

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
    gpu_facts
        Card, CUDA and driver by name, for the page.

    Returns
    -------
    list of Outcome
        One per participant.

    Raises
    ------
    ShdBidsError
        When nothing can be run at all.
    """
    execution = config.execution
    verbosity = 2 if execution.debug else execution.verbosity
    run_id = new_run_id()
    set_up_logging(verbosity=verbosity, log_files={})
    labels = select_participants(execution.bids_dir, execution.participant_labels)
    filters = read_filter_file(execution.bids_filter_file) if execution.bids_filter_file else {}
    allow_open_files(len(labels), len(execution.session_labels))
    source = open_source(config, labels)
    graphs_dir = execution.work_dir / "shd_bids_wf"
    fresh = [label for label in labels if not (graphs_dir / participant_wf_name(label)).is_dir()]
    prepare_work_dir(execution.work_dir, bids_dir=execution.bids_dir, clean=execution.clean_workdir)
    outcomes = [
        Outcome(label, execution.output_dir / f"sub-{label}" / "log" / run_id) for label in labels
    ]
    write_dataset(config, container)
    with (
        hold_participants(execution.work_dir, labels),
        hold_outputs(execution.output_dir, labels, execution.session_labels),
    ):
        log_files = {participant_wf_name(outcome.label): outcome.log_file for outcome in outcomes}
        for outcome in outcomes:
            write_text(outcome.log_dir / CONFIG_NAME, config_text(config))
        set_up_logging(verbosity=verbosity, log_files=log_files)
        LOGGER.info("shd-bids %s. %s", __version__, resources_text)
        _plan(config, outcomes, source, filters)
        if source.own_dir is None:
            suggest_own(execution, fresh)
        if references := _references(outcomes):
            write_dataset(config, container, references)
        configure_nipype(config)
        workflow = build_workflow(config, outcomes)
        tell_large_steps(workflow, config)
        tell_lack(outcomes, config)
        settings = TaskSettings(log_files=log_files, verbosity=verbosity, gpus=tuple(gpus))
        plugin = make_plugin(config, settings)
        if execution.write_graph:
            _write_graphs(workflow, outcomes)
        closing = Closing(
            config,
            outcomes,
            workflow,
            plugin,
            run_id=run_id,
            resources_text=resources_text,
            machine=machine_facts(container) | dict(gpu_facts or {}),
            container=container,
        )
        plugin.on_end = closing.hear
        execute(workflow, plugin)
        closing.close_all()
    return outcomes


def write_boilerplate(
    config: RunConfig, *, container: Mapping[str, str] | None = None
) -> tuple[list[Outcome], Path | None]:
    """Write the methods text of what the participants would get, and run nothing.

    Parameters
    ----------
    config
        Settings with resources and device resolved.
    container
        That the program runs in.

    Returns
    -------
    outcomes, citation_file
        One per participant; those that cannot be planned did not finish. ``logs/CITATION.md``, or
        None where nothing could be planned.

    Raises
    ------
    ShdBidsError
        When there is no input, or nothing can be written.
    """
    execution = config.execution
    set_up_logging(verbosity=2 if execution.debug else execution.verbosity, log_files={})
    labels = select_participants(execution.bids_dir, execution.participant_labels)
    filters = read_filter_file(execution.bids_filter_file) if execution.bids_filter_file else {}
    source = open_source(config, labels)
    log_dirs = {label: execution.output_dir / f"sub-{label}" / "log" for label in labels}
    outcomes = [Outcome(label, folder, keeps_log=False) for label, folder in log_dirs.items()]
    _plan(config, outcomes, source, filters)
    workflow = build_workflow(config, outcomes)
    for outcome in outcomes:
        outcome.miss_undelivered()
        outcome.finished = bool(outcome.plans) and not outcome.messages
    sections = {
        outcome.label: participant_sections(workflow, outcome.label, outcome.plans, config)
        for outcome in outcomes
    }
    methods = study_methods(sections, container=container)
    if not methods:
        return outcomes, None
    write_dataset(config, container, _references(outcomes))
    return outcomes, write_citations(execution.output_dir, methods)


def _references(outcomes: Sequence[Outcome]) -> list[Path]:
    """List the templates and atlases that some series uses."""
    plans = [plan for outcome in outcomes for plan in outcome.plans]
    return [file for plan in plans for file in plan.anat.references]


def build_workflow(config: RunConfig, outcomes: Sequence[Outcome]) -> LiterateWorkflow:
    """Build the graph of all participants that have a plan.

    Parameters
    ----------
    config
        Settings with resources and device resolved.
    outcomes
        Participants with their plans and log folders.

    Returns
    -------
    LiterateWorkflow
        Each node writes its crash file to its participant's log folder.
    """
    workflow = LiterateWorkflow(name="shd_bids_wf", base_dir=str(config.execution.work_dir))
    for outcome in outcomes:
        if not outcome.plans or outcome.messages:
            continue
        participant_wf = init_participant_wf(
            label=outcome.label, plans=outcome.plans, config=config
        )
        try:
            outcome.planned = planned_files(participant_wf)
        except OutputError as error:
            outcome.stop(error)
            LOGGER.error("sub-%s stops: %s", outcome.label, error)
            continue
        for node in participant_wf._get_all_nodes():
            node.config = {"execution": {"crashdump_dir": str(outcome.log_dir)}}
        workflow.add_nodes([participant_wf])
    return workflow


def write_dataset(
    config: RunConfig, container: Mapping[str, str] | None, references: Sequence[Path] = ()
) -> None:
    """Write the output dataset's own files, the first to be written there."""
    execution = config.execution
    try:
        execution.output_dir.mkdir(parents=True, exist_ok=True)
        writable = os.access(execution.output_dir, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise OutputError(
            f"The output {execution.output_dir} cannot be made or written to. Give a folder that "
            "can; in a container, one that is bound to the outside."
        )
    description = dataset_description(
        version=__version__,
        links=dataset_links(config, references),
        input_description=read_dataset_description(execution.bids_dir),
        other_descriptions={
            name: read_dataset_description(folder) for name, folder in execution.derivatives.items()
        },
        container=container,
    )
    write_dataset_files(execution.output_dir, description)


def _plan(
    config: RunConfig,
    outcomes: Sequence[Outcome],
    source: Source,
    filters: dict[str, dict[str, Any]],
) -> None:
    """Find the series of every participant; one that has none, or a bad one, stops here."""
    for outcome in outcomes:
        try:
            found = source.series_of(outcome.label, config, filters)
            outcome.plans = [plan_series(series, config) for series in found]
            for plan in outcome.plans:
                refuse_impossible(plan, config)
        except ShdBidsError as error:
            outcome.stop(error)
            LOGGER.error("sub-%s stops: %s", outcome.label, error, exc_info=config.execution.debug)
        for plan in outcome.plans:
            shells = ", ".join(f"{bval:g}" for bval in plan.shell_bvals)
            LOGGER.info(
                "%s: %d image(s), %s voxels, %d volumes, shells b = %s; models %s.",
                plan.series.source_stem,
                len(plan.series.source_files),
                " x ".join(str(n) for n in plan.shape[:3]),
                plan.shape[3],
                shells,
                ", ".join(plan.models),
            )


def new_run_id() -> str:
    """Name the log folder of a run: by its time, and by what no other run has."""
    return f"{datetime.now():%Y%m%d-%H%M%S}_{uuid.uuid4()}"


def make_plugin(config: RunConfig, settings: TaskSettings) -> ResilientPlugin:
    """Make what runs a graph within the resources, and remembers what each step took."""
    work_dir, asked = config.execution.work_dir, config.execution.plugin
    n_procs = 1 if asked.name == "Linear" else config.resources.nprocs or 1
    memory_gb = steps_gb(config.resources)
    if config.execution.resource_monitor:
        settings = replace(settings, monitor_file=work_dir / "resource_monitor.json")
    on_step = partial(remember_step, work_dir)
    if not asked.is_cluster:
        return ResilientPlugin(
            n_procs=n_procs, memory_gb=memory_gb, settings=settings, on_step=on_step
        )
    return SlurmPlugin(
        arguments=asked.arguments,
        jobs_dir=work_dir / "jobs",
        n_procs=n_procs,
        memory_gb=memory_gb,
        settings=settings,
        on_step=on_step,
    )


def configure_nipype(config: RunConfig) -> None:
    """Set what nipype copies into every graph and node when they are made."""
    nipype_config.update_config(
        {
            "execution": {
                "crashfile_format": "txt",
                "check_version": "false",
                "create_report": "false",  # of nipype's own, which nobody reads
                "hash_method": "timestamp",
                "poll_sleep_duration": "0.02",
                "remove_unnecessary_outputs": "false",
                "stop_on_first_crash": str(config.execution.stop_on_first_crash).lower(),
            }
        }
    )


def _write_graphs(workflow: LiterateWorkflow, outcomes: Sequence[Outcome]) -> None:
    """Write each participant's graph to its log folder, drawn if Graphviz is there."""
    for outcome in outcomes:
        participant_wf = workflow.get_node(participant_wf_name(outcome.label))
        if participant_wf is None:
            continue
        dot_file = outcome.log_dir / "graph.dot"
        participant_wf.write_graph(str(dot_file), graph2use="colored", format="dot")
        if shutil.which("dot"):  # not by nipype, which would hand the name to a shell
            drawn = dot_file.with_suffix(".svg")
            run_tool(["dot", "-Tsvg", f"-o{drawn}", str(dot_file)], outcome.log_dir)


def execute(workflow: LiterateWorkflow, plugin: ResilientPlugin) -> None:
    """Run a graph to its end; what failed is told by the plugin."""
    if all(map(is_identity, workflow._get_all_nodes())):
        LOGGER.info("There is nothing to run: all that was asked for is there.")
        return
    started = monotonic()
    try:
        workflow.run(plugin=plugin)
    except RuntimeError as error:  # how nipype says that nodes failed; the plugin knows which
        LOGGER.debug("%s", error)
    except Interrupted as interruption:
        LOGGER.warning(
            "Interrupted by %s: the steps that run are ended; a training saves itself first.",
            interruption,
        )
        raise
    except OSError as error:  # its own files; what was done until now is judged all the same
        if not is_disk_error(error):
            raise
        plugin.halted = explain_write_error(error, Path(workflow.base_dir))
        LOGGER.error("The graph cannot go on. %s", plugin.halted)
    finally:
        plugin.stop()
    LOGGER.info("The graph ended after %.0f s.", monotonic() - started)
