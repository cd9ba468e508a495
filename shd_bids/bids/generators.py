"""Who made a dataset: a scanner's converter or a preprocessing pipeline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shd_bids.bids.dataset import read_dataset_description


def is_preprocessed(bids_dir: Path) -> bool:
    """Tell derivatives of a preprocessing pipeline from raw data, by their description alone.

    Parameters
    ----------
    bids_dir
        Root of the dataset.

    Returns
    -------
    bool
        True where ``DatasetType`` is ``derivative``, or, without that field, where QSIPrep or the
        field ``PipelineDescription`` of old derivatives is named.

    Raises
    ------
    BidsDataError
        If this is no BIDS dataset.
    """
    description = read_dataset_description(bids_dir)
    kind = description.get("DatasetType")
    if isinstance(kind, str):
        return kind.lower() == "derivative"
    return isinstance(description.get("PipelineDescription"), dict) or is_by_qsiprep(description)


def is_by_qsiprep(description: Mapping[str, Any]) -> bool:
    """Tell whether QSIPrep is among the programs that made a dataset.

    Examples
    --------
    >>> is_by_qsiprep({"GeneratedBy": [{"Name": "QSIPrep", "Version": "1.0.1"}]})
    True
    >>> is_by_qsiprep({"PipelineDescription": {"Name": "qsiprep"}}), is_by_qsiprep({})
    (True, False)
    """
    return any("qsiprep" in name.lower() for name in generators(description))


def generators(description: Mapping[str, Any]) -> list[str]:
    """Name the programs that made a dataset.

    Parameters
    ----------
    description
        Content of ``dataset_description.json``.

    Returns
    -------
    list[str]
        With their versions, as in ``QSIPrep 1.0.1``; empty where none is named.
    """
    return [
        f"{entry['Name']} {entry.get('Version', '')}".strip()
        for entry in generator_entries(description)
    ]


def generator_entries(description: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List what is said of the programs that made a dataset.

    Parameters
    ----------
    description
        Content of ``dataset_description.json``; ``PipelineDescription`` is what ``GeneratedBy``
        was called before BIDS 1.4.

    Returns
    -------
    list[dict[str, Any]]
        Those that have a name.

    Examples
    --------
    >>> generator_entries({"PipelineDescription": {"Name": "qsiprep"}})
    [{'Name': 'qsiprep'}]
    """
    fields = description.get("GeneratedBy", description.get("PipelineDescription", []))
    entries = fields if isinstance(fields, list) else [fields]
    return [entry for entry in entries if isinstance(entry, dict) and "Name" in entry]
