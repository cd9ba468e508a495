"""Where the series of a run come from: raw images, or what another pipeline has preprocessed."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids.layout import BIDSLayout

from shd_bids.bids.dataset import open_layout
from shd_bids.bids.description import TEMPLATEFLOW
from shd_bids.bids.generators import is_preprocessed
from shd_bids.bids.preprocessed import PreprocessedSeries, find_preprocessed
from shd_bids.bids.series import DwiSeries, collect_series
from shd_bids.config import RunConfig

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
            return find_preprocessed(
                self.dataset_dir, label, session_labels=sessions, filters=filters
            )
        return collect_series(
            self.layout,
            label,
            session_labels=sessions,
            filters=filters,
            merge_opposite=config.preproc.sdc != "none",
        )


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
    for name, folder in execution.derivatives.items():
        LOGGER.info("Preprocessed series are taken from %s (%s).", folder, name)
        return Source(folder, None)
    preprocessed = execution.input_type == "qsiprep"
    if execution.input_type == "auto":
        preprocessed = is_preprocessed(execution.bids_dir)
    if preprocessed:
        LOGGER.info("%s holds preprocessed series: nothing is resampled.", execution.bids_dir)
        return Source(execution.bids_dir, None)
    layout = open_layout(
        execution.bids_dir,
        participant_labels=labels,
        session_labels=execution.session_labels,
        database_dir=execution.bids_database_dir,
    )
    return Source(execution.bids_dir, layout)


def dataset_links(config: RunConfig, references: Iterable[Path] = ()) -> dict[str, Path]:
    """Name the datasets that outputs are made from, for BIDS URIs.

    Parameters
    ----------
    config
        Settings of the run.
    references
        Templates and atlases that are used; those of TemplateFlow's folder make it a link.
    """
    links = {"raw": config.execution.bids_dir, **config.execution.derivatives}
    for file in references:
        folder = next((one for one in file.parents if one.name.startswith("tpl-")), None)
        if folder is not None:
            links.setdefault(TEMPLATEFLOW, folder.parent)
    return links
