"""Run the group level: what a study's participants have in common, and its page."""

import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids import __version__
from shd_bids.bids.dataset import read_filter_file
from shd_bids.config import LEVELS, RunConfig, write_config_file

from .group import group_wf_name, init_group_wf, network_model, network_path
from .group_scans import StudyKind, collect_scans, find_participants, sort_by_kind
from .logs import set_up_logging
from .plugin import ResilientPlugin, TaskSettings
from .run import configure_nipype, execute, write_dataset
from .workdir import hold_participants, prepare_work_dir

LOGGER = logging.getLogger(__name__)


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
    """

    labels: list[str]
    n_series: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    crash_files: list[Path] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether all was done, with everybody."""
        return not self.left_out and not self.messages and self.n_series > 0


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
    run_id = f"{datetime.now():%Y%m%d-%H%M%S}_{uuid.uuid4()}"
    log_dir = execution.output_dir / "group/log" / run_id
    prepare_work_dir(execution.work_dir, bids_dir=execution.bids_dir, clean=execution.clean_workdir)
    with hold_participants(execution.work_dir, ["group"]):
        write_dataset(config, container)
        log_dir.mkdir(parents=True, exist_ok=True)
        write_config_file(config, log_dir / "shd-bids.toml")
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
        settings = TaskSettings(log_files=log_files, verbosity=verbosity, gpus=tuple(gpus))
        plugin = ResilientPlugin(
            n_procs=config.resources.nprocs or 1,
            memory_gb=config.resources.mem or 8.0,
            settings=settings,
        )
        execute(workflow, plugin)
        outcome.messages += [failure.message for failure in plugin.failures]
        if plugin.unfinished and not outcome.messages:
            outcome.messages.append(f"{len(plugin.unfinished)} steps were not run.")
        outcome.crash_files = sorted(log_dir.glob("crash-*"))
        _judge_networks(config, kinds, outcome, plugin)
    return outcome


def _find_kinds(config: RunConfig, outcome: GroupOutcome, filters: dict) -> list[StudyKind]:
    """Find the scans, and say what there is."""
    if config.execution.level == LEVELS[0]:
        return []
    found = collect_scans(config.execution, outcome.labels, filters)
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


def _judge_networks(
    config: RunConfig, kinds: Sequence[StudyKind], outcome: GroupOutcome, plugin: ResilientPlugin
) -> None:
    """Name the scans that could not be read when a network was trained."""
    model = network_model(config)
    if model is None:
        return
    for kind in kinds:
        if any(group_wf_name(kind) in name.split(".") for name in plugin.unfinished):
            continue
        sidecar_file = config.execution.output_dir / network_path(kind, model, ".json")
        for loss in json.loads(sidecar_file.read_text(encoding="utf-8"))["Losses"]:
            if "failed" in loss:
                outcome.left_out[loss["series"]] = loss["failed"]
