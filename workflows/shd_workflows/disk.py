"""Room on the disk: what a run will need, what its intermediate results take, and their removal."""

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from shd_bids.config import LEVELS, RunConfig

from .outcome import Outcome
from .participant import participant_wf_name
from .plan import SeriesPlan

LOGGER = logging.getLogger(__name__)
_OF_FLOATS = 0.8  # what gzip leaves of noisy 32-bit floats
_OUTSIDE_THE_BRAIN = 0.5  # of the voxels of an image; models are zero there
_STREAMLINE_GB = 1.2e-6  # a hundred points, half a voxel apart
_FIGURES_GB = 0.02


def work_need_gb(plan: SeriesPlan, config: RunConfig) -> float:
    """Estimate what a series' intermediate results will take, GB.

    Each step of preprocessing leaves the series as 32-bit floats, which the next step maps into
    memory; they are not compressed, because that would take longer than the step.
    """
    preproc, level = config.preproc, LEVELS.index(config.execution.level)
    if plan.own.results is not None:
        return _FIGURES_GB + _tracts_gb(config, level, copies=2)
    copies_gb = plan.acquired_gb  # of the merged or given series
    if plan.geometry is not None:
        copies_gb += plan.acquired_gb * (preproc.denoise_method != "none")
        copies_gb += plan.acquired_gb * (plan.slice_axis is not None)
        copies_gb += (plan.acquired_gb + plan.size_gb()) * (preproc.hmc != "none")
        copies_gb += plan.size_gb() * (preproc.bias_correction != "none")
        copies_gb += _OF_FLOATS * plan.size_gb()  # as it is handed out
    return copies_gb + _models_gb(plan, config, level) + _tracts_gb(config, level, copies=2)


def output_need_gb(plan: SeriesPlan, config: RunConfig) -> float:
    """Estimate what the derivatives of a series will take, GB."""
    level = LEVELS.index(config.execution.level)
    series_gb = _OF_FLOATS * plan.size_gb() if plan.geometry is not None else 0.0
    tracts_gb = _tracts_gb(config, level, copies=len(config.tracking.tractogram_formats))
    return series_gb + _models_gb(plan, config, level) + tracts_gb + _FIGURES_GB


def tell_lack(outcomes: Sequence[Outcome], config: RunConfig) -> None:
    """Warn before anything runs where the disk has less room than the run is likely to need."""
    execution = config.execution
    plans = [plan for outcome in outcomes for plan in outcome.plans]
    graphs_dir = execution.work_dir / "shd_bids_wf"
    each_gb = [
        sum(work_need_gb(plan, config) for plan in outcome.plans)
        - folder_gb(graphs_dir / participant_wf_name(outcome.label))
        for outcome in outcomes
    ]
    if execution.clean_workdir_after and not execution.plugin.is_cluster:
        # one after the other is finished and removed; as many are at work as there are processors
        each_gb = sorted(each_gb, reverse=True)[: config.resources.nprocs]
    needs_gb = {
        execution.work_dir: sum(each_gb),
        execution.output_dir: sum(output_need_gb(plan, config) for plan in plans),
    }
    advice = (
        " or fewer --nprocs"
        if execution.clean_workdir_after
        else ", run fewer participants at once, or give --clean-workdir-after to remove what a "
        "participant that is finished no longer needs"
    )
    shared: dict[int, list[Path]] = {}
    for folder in needs_gb:
        shared.setdefault(folder.stat().st_dev, []).append(folder)
    for folders in shared.values():
        need_gb = sum(max(needs_gb[folder], 0.0) for folder in folders)
        free_gb = shutil.disk_usage(folders[0]).free / 1e9
        if need_gb > free_gb:
            LOGGER.warning(
                "%s will need about %.1f GB, and %.1f GB are free there. Free some, give another "
                "--work-dir%s.",
                " and ".join(str(folder) for folder in folders),
                need_gb,
                free_gb,
                advice,
            )


def folder_gb(folder: Path) -> float:
    """Give what the files below a folder take on the disk, GB; nothing if it is not there."""
    n_byte = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                n_byte += (Path(place) / name).lstat().st_blocks * 512
            except FileNotFoundError:  # another run has removed it meanwhile
                continue
    return n_byte / 1e9


def say_gb(size_gb: float) -> str:
    """Say a size in the unit that a reader would use.

    Examples
    --------
    >>> say_gb(0.0371), say_gb(2.345)
    ('37 MB', '2.3 GB')
    """
    return f"{size_gb:.1f} GB" if size_gb >= 1 else f"{1000 * size_gb:.0f} MB"


def account_for(outcome: Outcome, config: RunConfig) -> str:
    """Say what a participant's intermediate results take, and whether they are to stay."""
    execution = config.execution
    if not outcome.plans:
        return f"{execution.work_dir}, nothing of this participant"
    size = say_gb(sum(map(folder_gb, _folders(outcome, config))))
    if is_to_be_cleaned(outcome, config):
        return f"{size} of intermediate results, removed from {execution.work_dir} at the end"
    return f"{size} of intermediate results in {execution.work_dir}"


def is_to_be_cleaned(outcome: Outcome, config: RunConfig) -> bool:
    """Tell whether a participant's intermediate results are to be removed.

    Those of a participant that failed stay, so that the same command goes on from them.
    """
    return config.execution.clean_workdir_after and outcome.finished and bool(outcome.plans)


def clean_after(outcome: Outcome, config: RunConfig) -> None:
    """Remove a participant's intermediate results.

    Those of its other sessions stay, which another run may be about to finish.
    """
    for folder in _folders(outcome, config):
        shutil.rmtree(folder, ignore_errors=True)  # what stays is only in the way
    graphs_dir = config.execution.work_dir / "shd_bids_wf" / participant_wf_name(outcome.label)
    if graphs_dir.is_dir() and not any(graphs_dir.iterdir()):
        graphs_dir.rmdir()


def _folders(outcome: Outcome, config: RunConfig) -> list[Path]:
    """List the folders of a participant's intermediate results."""
    work_dir = config.execution.work_dir
    graphs_dir = work_dir / "shd_bids_wf" / participant_wf_name(outcome.label)
    folders = [graphs_dir / plan.name for plan in outcome.plans]
    return folders + [work_dir / "checkpoints" / p.series.source_stem for p in outcome.plans]


def _models_gb(plan: SeriesPlan, config: RunConfig, level: int) -> float:
    """Estimate harmonics, peaks and maps of all models."""
    if level < LEVELS.index("fod"):
        return 0.0
    lmax = config.deconv.lmax
    n_volume = (lmax + 1) * (lmax + 2) // 2 + 25  # peaks, colours and maps
    one_gb = plan.size_gb(n_volume) * _OF_FLOATS * _OUTSIDE_THE_BRAIN
    return len(plan.models) * one_gb


def _tracts_gb(config: RunConfig, level: int, copies: int) -> float:
    if level < LEVELS.index("full") or config.tracking.skip_tractography:
        return 0.0
    return copies * config.tracking.wanted_streamlines * _STREAMLINE_GB
