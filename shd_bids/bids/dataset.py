"""The input dataset: which participants it has, and an index of those asked for."""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bids.layout import BIDSLayout, Query

from shd_bids.bids.index import SELECTION_FILE, build_index, find_database, open_database
from shd_bids.bids.json_files import read_json_object
from shd_bids.bids.locks import hold_lock
from shd_bids.bids.space import explain_write_error
from shd_bids.errors import BidsDataError, ConfigError, OutputError

LOGGER = logging.getLogger(__name__)

_FILTER_FORM = (
    'The file must hold an object of objects, such as {"dwi": {"acquisition": "multiband"}}.'
)
FILTER_KEYS = ("dwi", "t1w", "fmap")
# a label of another participant, and what PyBIDS's search takes beside entities
_NO_FILTERS = (
    "subject",
    "return_type",
    "target",
    "scope",
    "regex_search",
    "absolute_paths",
    "invalid_filters",
)
_QUERIES = {"*": Query.ANY, "Query.ANY": Query.ANY, "Query.NONE": Query.NONE}


def read_dataset_description(bids_dir: Path) -> dict[str, Any]:
    """Read ``dataset_description.json`` and with it make sure that this is a BIDS dataset.

    Parameters
    ----------
    bids_dir
        Root of the dataset.

    Returns
    -------
    dict[str, Any]
        Its fields.

    Raises
    ------
    BidsDataError
        If the folder or the file is missing or the file is no JSON object.
    """
    if not bids_dir.is_dir():
        raise BidsDataError(f"There is no folder {bids_dir}; expected the root of a BIDS dataset.")
    file = bids_dir / "dataset_description.json"
    if not file.is_file():
        raise BidsDataError(
            f"{bids_dir} holds no dataset_description.json, which every BIDS dataset has at its "
            "root. Give the root folder of the dataset, the one that holds the sub-* folders."
        )
    return read_json_object(file)


def select_participants(bids_dir: Path, participant_labels: Sequence[str] = ()) -> list[str]:
    """Resolve the participants asked for.

    Parameters
    ----------
    bids_dir
        Root of the dataset.
    participant_labels
        With or without ``sub-``; empty for all.

    Returns
    -------
    list[str]
        Labels without ``sub-``, each once; sorted when all were meant.

    Raises
    ------
    BidsDataError
        If the dataset has no participants or lacks one that was named.
    """
    read_dataset_description(bids_dir)
    present = sorted(
        folder.name.removeprefix("sub-") for folder in bids_dir.glob("sub-*") if folder.is_dir()
    )
    if not present:
        raise BidsDataError(f"{bids_dir} holds no participants: searched for folders named sub-*.")
    wanted = list(dict.fromkeys(label.removeprefix("sub-") for label in participant_labels))
    missing = [label for label in wanted if label not in present]
    if missing:
        shown = ", ".join(present[:20]) + (", ..." if len(present) > 20 else "")
        raise BidsDataError(
            f"No participant {', '.join(missing)} in {bids_dir}. It holds {len(present)}: {shown}."
        )
    return wanted or present


def open_layout(
    bids_dir: Path,
    *,
    participant_labels: Sequence[str],
    session_labels: Sequence[str] = (),
    database_dir: Path | None = None,
) -> BIDSLayout:
    """Index the participants and sessions asked for, and nothing else.

    Parameters
    ----------
    bids_dir
        Root of the dataset; never written to.
    participant_labels
        With or without ``sub-``; empty for all.
    session_labels
        With or without ``ses-``; empty for all.
    database_dir
        Where to keep indices between runs. One made for the same dataset, and at least these
        participants and sessions, is used again as it is, even if files were added since; any
        other selection gets an index of its own.

    Returns
    -------
    BIDSLayout
        In memory, or backed by the database.

    Raises
    ------
    BidsDataError
        If this is no BIDS dataset, or lacks a participant or session.
    """
    participants = select_participants(bids_dir, participant_labels)
    sessions = sorted({label.removeprefix("ses-") for label in session_labels})
    check_sessions(bids_dir, participants, sessions)
    if database_dir is None:
        return build_index(bids_dir, participants, sessions, None)
    selection = {
        "bids_dir": str(bids_dir.resolve()),
        "participants": sorted(participants),
        "sessions": sessions or None,
    }
    try:
        database_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"--bids-database-dir {database_dir} cannot be made: "
            f"{explain_write_error(error, database_dir)}"
        ) from error
    reusable = find_database(database_dir, selection)
    if reusable is not None and (layout := open_database(reusable, bids_dir)) is not None:
        LOGGER.info("Index of the dataset taken from %s.", reusable)
        return layout
    with hold_lock(database_dir / ".lock", timeout_s=600.0):
        digest = hashlib.sha256(json.dumps(selection).encode()).hexdigest()[:12]
        final = database_dir / digest
        if find_database(database_dir, selection) is None:
            building = Path(tempfile.mkdtemp(prefix=".building-", dir=database_dir))
            build_index(bids_dir, participants, sessions, building)
            (building / SELECTION_FILE).write_text(json.dumps(selection), encoding="utf-8")
            shutil.rmtree(final, ignore_errors=True)
            building.rename(final)
    return BIDSLayout(bids_dir, database_path=find_database(database_dir, selection))


def read_filter_file(file: Path) -> dict[str, dict[str, Any]]:
    """Read a filter file in fMRIPrep's format.

    Parameters
    ----------
    file
        JSON: PyBIDS queries under the keys ``dwi``, ``t1w`` and ``fmap``, such as
        ``{"dwi": {"acquisition": "multiband", "session": ["01", "02"]}}``. ``"*"`` or
        ``"Query.ANY"`` asks for any label, ``null`` or ``"Query.NONE"`` for none. Keys of
        other modalities are passed over.

    Returns
    -------
    dict[str, dict[str, Any]]
        Queries by key.

    Raises
    ------
    ConfigError
        If the file is missing or not of this form.
    """
    try:
        content = read_json_object(file)
    except BidsDataError as error:
        raise ConfigError(f"--bids-filter-file: {error} {_FILTER_FORM}") from error
    if not all(isinstance(query, dict) for query in content.values()):
        raise ConfigError(f"--bids-filter-file: {file} holds something else. {_FILTER_FORM}")
    for key in content:
        if key not in FILTER_KEYS:
            LOGGER.warning(
                "%s: the filters of %s are not used; known are %s.",
                file.name,
                key,
                ", ".join(FILTER_KEYS),
            )
    for key in FILTER_KEYS:
        _check_query(file, key, content.get(key, {}))
    return {key: _as_query(content[key]) for key in FILTER_KEYS if key in content}


def _check_query(file: Path, key: str, filters: Mapping[str, Any]) -> None:
    """Refuse what is no filter: settings of PyBIDS's search, another participant, no label."""
    for name, value in filters.items():
        found = f"--bids-filter-file: {file} sets {key}.{name[:100]}"
        if name in _NO_FILTERS:
            raise ConfigError(
                f"{found}, which is no entity; expected entities such as acquisition, session or "
                "run. Participants are chosen with --participant-label."
            )
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(one, str | int | float | None) for one in values):
            raise ConfigError(
                f"{found} to {str(value)[:100]}; expected a label, a number, null, "
                '"*" or a list of these.'
            )


def _as_query(filters: Mapping[str, Any]) -> dict[str, Any]:
    def translate(value: Any) -> Any:
        if value is None:
            return Query.NONE
        if isinstance(value, list):
            return [translate(one) for one in value]
        return _QUERIES.get(value, value) if isinstance(value, str) else value

    return {name: translate(value) for name, value in filters.items()}


def check_sessions(bids_dir: Path, participants: Sequence[str], sessions: Sequence[str]) -> None:
    """Refuse a session that none of the participants has.

    Parameters
    ----------
    bids_dir
        Root of the dataset.
    participants, sessions
        Without prefix.

    Raises
    ------
    BidsDataError
        With the sessions that exist.
    """
    for session in sessions:
        if any((bids_dir / f"sub-{label}" / f"ses-{session}").is_dir() for label in participants):
            continue
        present = {
            folder.name.removeprefix("ses-")
            for label in participants
            for folder in (bids_dir / f"sub-{label}").glob("ses-*")
        }
        raise BidsDataError(
            f"No session {session} of participant {', '.join(participants)} in {bids_dir}. Found: "
            f"{', '.join(sorted(present)) or 'no sessions'}."
        )
