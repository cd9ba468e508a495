"""Diffusion series: which runs of the input dataset go into one output."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids.layout import BIDSLayout

from shd_bids.bids.fieldmaps import EpiFieldmap, find_fieldmaps, find_other_fieldmaps
from shd_bids.bids.names import NamedSeries
from shd_bids.bids.query import describe_missing, find_images, refuse_twins, short_entities
from shd_bids.bids.runs import DwiRun, choose_runs, read_run
from shd_bids.errors import BidsDataError

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class DwiSeries(NamedSeries):
    """The runs that become one output: one session, one acquisition.

    ``reverse_phase_runs`` and ``fieldmaps`` serve distortion correction alone;
    ``other_fieldmaps``, in Hz or of phases, are there and not used.
    """

    runs: tuple[DwiRun, ...]
    reverse_phase_runs: tuple[DwiRun, ...]
    fieldmaps: tuple[EpiFieldmap, ...]
    other_fieldmaps: tuple[Path, ...]
    t1w_file: Path | None

    @property
    def source_files(self) -> tuple[Path, ...]:
        """Images that the series is made of."""
        return tuple(run.dwi_file for run in self.runs)

    @property
    def space_label(self) -> str:
        """What the ``space`` entity of every output says."""
        return "orig"

    @property
    def shared_metadata(self) -> dict[str, Any]:
        """Metadata that all runs have in common."""
        first, *others = [run.metadata for run in self.runs]
        return {
            key: value
            for key, value in sorted(first.items())
            if all(key in other and other[key] == value for other in others)
        }


def collect_series(
    layout: BIDSLayout,
    participant_label: str,
    *,
    session_labels: Sequence[str] = (),
    filters: Mapping[str, Mapping[str, Any]] | None = None,
    merge_opposite: bool = False,
) -> list[DwiSeries]:
    """Collect the diffusion series of one participant.

    Images that differ only in ``run`` and ``dir`` form a group. In it, images of one phase
    encoding are merged in the order of their names. Of several phase encodings, the one with
    most diffusion-weighted volumes is taken (of equals, the first by name); those opposite to it
    become `DwiSeries.reverse_phase_runs`, because without distortion correction the two do not
    match voxel by voxel. With it (``merge_opposite``), opposite runs that carry a full set of
    directions are merged as well. Phase images (``part-phase``) and derived ones are left out.

    Parameters
    ----------
    layout
        Index of the input, from `shd_bids.bids.dataset.open_layout`.
    participant_label
        With or without ``sub-``.
    session_labels
        With or without ``ses-``; empty for all.
    filters
        PyBIDS queries under the keys ``dwi``, ``t1w`` and ``fmap``.
    merge_opposite
        Whether distortion will be corrected before the runs are merged.

    Returns
    -------
    list[DwiSeries]
        Ordered by name.

    Raises
    ------
    BidsDataError
        If nothing is found, gradient files are missing, or runs to merge differ in their grid.
    ConfigError
        If a filter names an entity that the dataset does not use.
    """
    filters = filters or {}
    label = participant_label.removeprefix("sub-")
    query: dict[str, Any] = {"datatype": "dwi", "suffix": "dwi", "subject": label}
    if session_labels:
        query["session"] = [name.removeprefix("ses-") for name in session_labels]
    query |= filters.get("dwi", {})
    images = find_images(layout, query)
    if not images:
        raise BidsDataError(describe_missing(layout, query))
    refuse_twins([Path(image.path) for image in images])
    groups: dict[tuple[tuple[str, str], ...], list[Any]] = defaultdict(list)
    for image in images:
        entities = short_entities(image)
        key = {name: value for name, value in entities.items() if name not in ("run", "dir")}
        groups[tuple(key.items())].append(image)
    series = [_series_of_group(layout, group, filters, merge_opposite) for group in groups.values()]
    return sorted(series, key=lambda one: one.source_stem)


def _series_of_group(
    layout: BIDSLayout,
    images: list[Any],
    filters: Mapping[str, Mapping[str, Any]],
    merge_opposite: bool,
) -> DwiSeries:
    entities = {Path(image.path): short_entities(image) for image in images}
    runs, reverse = choose_runs(
        [read_run(layout, image) for image in images], merge_opposite=merge_opposite
    )
    labels = [entities[run.dwi_file] for run in runs]
    shared = {
        key: value
        for key, value in labels[0].items()
        if all(value == other.get(key) for other in labels)
    }
    whose: dict[str, Any] = {
        "participant_label": shared["sub"],
        "session_label": shared.get("ses"),
        "filters": filters.get("fmap", {}),
    }
    fieldmaps = find_fieldmaps(layout, [*runs, *reverse], **whose)
    other_fieldmaps = find_other_fieldmaps(layout, **whose)
    t1w_file = _find_t1w(layout, shared, filters.get("t1w", {}))
    return DwiSeries(shared, runs, reverse, fieldmaps, other_fieldmaps, t1w_file)


def _find_t1w(
    layout: BIDSLayout, entities: Mapping[str, str], filters: Mapping[str, Any]
) -> Path | None:
    query = {"datatype": "anat", "suffix": "T1w", "subject": entities["sub"], **filters}
    files = find_images(layout, query)
    same_session = [f for f in files if f.entities.get("session") == entities.get("ses")]
    files = same_session or files
    if len(files) > 1:
        LOGGER.info("%d T1w images: %s is taken.", len(files), files[0].filename)
    return Path(files[0].path) if files else None
