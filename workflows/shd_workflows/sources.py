"""Where the series of a run come from: raw images, or what another pipeline has preprocessed."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bids.layout import BIDSLayout

from shd_bids.bids.dataset import open_layout, read_dataset_description
from shd_bids.bids.description import TEMPLATEFLOW
from shd_bids.bids.filters import matches
from shd_bids.bids.generators import is_preprocessed
from shd_bids.bids.names import BidsName
from shd_bids.bids.own import find_own, own_version
from shd_bids.bids.preprocessed import PreprocessedSeries, find_preprocessed
from shd_bids.bids.series import DwiSeries, collect_series
from shd_bids.config import ExecutionConfig, RunConfig
from shd_bids.errors import ConfigError

LOGGER = logging.getLogger(__name__)

_RAW_REASON = (
    "The directions of the .bvec files were read by FSL's rule, as BIDS has it for raw data: along "
    "the image's axes, x mirrored where the affine's determinant is positive."
)

Series = DwiSeries | PreprocessedSeries


@dataclass(frozen=True)
class Source:
    """The dataset that holds the series, indexed if it is raw."""

    dataset_dir: Path
    layout: BIDSLayout | None  # None for preprocessed series, which are found by name
    own_dir: Path | None = None  # results of an earlier run of shd-bids

    def series_of(
        self, label: str, config: RunConfig, filters: Mapping[str, Mapping[str, Any]]
    ) -> Sequence[Series]:
        """Find the series of a participant.

        Raises
        ------
        ShdBidsError
            When there is none, or one of them lacks its gradients.
        """
        sessions = config.execution.session_labels
        if self.layout is None:
            found = find_preprocessed(
                self.dataset_dir, label, session_labels=sessions, filters=filters
            )
            if self.own_dir is None:
                return found
            if self.dataset_dir == self.own_dir:
                self._tell_left_out(found, label, config.execution, filters)
            return self._with_own(found, self.own_dir)
        return collect_series(
            self.layout,
            label,
            session_labels=sessions,
            filters=filters,
            merge_opposite=config.preproc.sdc != "none",
        )

    def _tell_left_out(
        self,
        found: Sequence[PreprocessedSeries],
        label: str,
        execution: ExecutionConfig,
        filters: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Name the raw images that are asked for and that no earlier run has preprocessed."""
        sessions = [name.removeprefix("ses-") for name in execution.session_labels]
        folder, left_out = execution.bids_dir / f"sub-{label}", []
        for file in sorted([*folder.glob("dwi/*_dwi.nii*"), *folder.glob("ses-*/dwi/*_dwi.nii*")]):
            name = BidsName.parse(file)
            if name is None or (sessions and name.entities.get("ses") not in sessions):
                continue
            query = dict(filters.get("dwi", {}))
            made = any(
                one.entities.items() <= name.entities.items()  # those that merged images share
                and one.entities.get("ses") == name.entities.get("ses")
                for one in found
            )
            if not made and matches(name, query, datatype="dwi"):
                left_out.append(file.name)
        if left_out:
            LOGGER.warning(
                "sub-%s: %s of the input %s left out: %s holds no preprocessed series of it. Run "
                "it without --derivatives first.",
                label,
                ", ".join(left_out),
                "is" if len(left_out) == 1 else "are",
                self.dataset_dir,
            )

    @staticmethod
    def _with_own(found: Sequence[PreprocessedSeries], own_dir: Path) -> list[PreprocessedSeries]:
        """Add to each series what an earlier run made of it."""
        version = own_version(read_dataset_description(own_dir)) or "unknown"
        return [
            replace(series, own=find_own(own_dir, series, series.space_label, version=version))
            for series in found
        ]


def gradient_reading(series: Series) -> dict[str, str]:
    """Give the convention that the gradients were read by and why, as fields of a sidecar."""
    convention, reason = "fsl", _RAW_REASON
    if isinstance(series, PreprocessedSeries):
        convention, reason = series.gradients.convention, series.gradients.reason
    return {"GradientConvention": convention, "GradientConventionReason": reason}


def open_source(config: RunConfig, labels: Sequence[str]) -> Source:
    """Settle what the input is, and index raw images.

    Parameters
    ----------
    config
        Settings of the run.
    labels
        Participants asked for, without ``sub-``.

    Returns
    -------
    Source
        By `--derivatives`, else by `--input-type`, else by the dataset's own description.

    Raises
    ------
    BidsDataError
        When a dataset has no description, or lacks a participant or session.
    """
    execution = config.execution
    own, others = _sort_derivatives(execution.derivatives)
    own_dir = next(iter(own.values()), None)
    for name, folder in others.items():
        LOGGER.info("Preprocessed series are taken from %s (%s).", folder, name)
        return Source(folder, None, own_dir)
    preprocessed = execution.input_type == "qsiprep"
    if execution.input_type == "auto":
        preprocessed = is_preprocessed(execution.bids_dir)
    if own_dir is not None and (not preprocessed or _holds_series(own_dir)):
        LOGGER.info("Series and results are taken from %s (%s).", own_dir, next(iter(own)))
        return Source(own_dir, None, own_dir)
    if preprocessed:
        LOGGER.info("%s holds preprocessed series: nothing is resampled.", execution.bids_dir)
        if own_dir is None and own_version(read_dataset_description(execution.bids_dir)):
            own_dir = execution.bids_dir
        return Source(execution.bids_dir, None, own_dir)
    layout = open_layout(
        execution.bids_dir,
        participant_labels=labels,
        session_labels=execution.session_labels,
        database_dir=execution.bids_database_dir,
    )
    return Source(execution.bids_dir, layout)


def dataset_links(config: RunConfig, references: Iterable[Path] = ()) -> dict[str, Path]:
    """Name the datasets that outputs are made from, for BIDS URIs; the output itself is none.

    Parameters
    ----------
    config
        Settings of the run.
    references
        Templates and atlases that are used; those of TemplateFlow's folder make it a link.
    """
    execution = config.execution
    output_dir = execution.output_dir.resolve()
    links = {"raw": execution.bids_dir} | {
        name: folder
        for name, folder in execution.derivatives.items()
        if folder.resolve() != output_dir
    }
    for file in references:
        folder = next((one for one in file.parents if one.name.startswith("tpl-")), None)
        if folder is not None:
            links.setdefault(TEMPLATEFLOW, folder.parent)
    return links


def suggest_own(execution: ExecutionConfig, labels: Sequence[str]) -> None:
    """Tell how to go on from earlier results in the output, where their work directory is gone.

    Parameters
    ----------
    execution
        Settings of the run, which takes nothing from the output.
    labels
        Participants of which the work directory holds nothing.
    """
    folder = execution.output_dir
    there = [label for label in labels if _holds_series(folder, label)]
    if there:
        LOGGER.info(
            "%s holds earlier results of %s, but %s has no intermediate ones: all is made anew. To "
            "go on from those results instead, give -d shdbids=%s.",
            folder,
            ", ".join(f"sub-{label}" for label in there),
            execution.work_dir,
            folder,
        )


def _sort_derivatives(
    derivatives: Mapping[str, Path],
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Tell the results of an earlier run of shd-bids from what others have preprocessed."""
    own: dict[str, Path] = {}
    others: dict[str, Path] = {}
    for name, folder in derivatives.items():
        by_us = own_version(read_dataset_description(folder)) is not None
        (own if by_us else others)[name] = folder
    for group, who in ((own, "shd-bids"), (others, "another pipeline")):
        if len(group) > 1:
            raise ConfigError(
                f"--derivatives names {len(group)} datasets of {who} ({', '.join(group)}); series "
                "and results are taken from one. Give that one."
            )
    return own, others


def _holds_series(dataset_dir: Path, label: str = "*") -> bool:
    """Tell whether a dataset holds preprocessed series; ours of QSIPrep's output does not."""
    patterns = (f"sub-{label}/dwi", f"sub-{label}/ses-*/dwi")
    return any(any(dataset_dir.glob(f"{one}/*desc-preproc*_dwi.nii*")) for one in patterns)
