"""The index of a dataset, and the folder that keeps indices between runs."""

import json
import logging
import re
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from bids.layout import BIDSLayout, BIDSLayoutIndexer
from sqlalchemy.exc import DatabaseError

from shd_bids.bids.json_files import read_json_object
from shd_bids.errors import BidsDataError

LOGGER = logging.getLogger(__name__)

SELECTION_FILE = "selection.json"
_SKIPPED_FOLDERS = ("code", "sourcedata", "derivatives", "stimuli", "models", "logs", "figures")


def build_index(
    bids_dir: Path, participants: list[str], sessions: list[str], database_dir: Path | None
) -> BIDSLayout:
    """Index some participants and sessions (all, if none is named) of a dataset.

    Parameters
    ----------
    bids_dir
        Root of the dataset; never written to.
    participants, sessions
        Without prefix.
    database_dir
        Where to keep the index; in memory if None.

    Returns
    -------
    BIDSLayout
        Names alone: no file is read; derivatives are left out.
    """
    # pybids matches these against paths below the root that start with a slash
    folders = "|".join(_SKIPPED_FOLDERS)
    ignore = [re.compile(rf"^/({folders})(/|$)"), re.compile(r"/\.")]
    wanted = "|".join(re.escape(label) for label in participants)
    ignore.append(re.compile(rf"^/sub-(?!({wanted})(/|$))"))
    if sessions:
        kept = "|".join(re.escape(label) for label in sessions)
        ignore.append(re.compile(rf"^/sub-[^/]+/ses-(?!({kept})(/|$))"))
    # sidecars are read where they are needed: here a damaged one would stop all participants
    indexer = BIDSLayoutIndexer(validate=False, ignore=ignore, index_metadata=False)
    return BIDSLayout(
        bids_dir,
        validate=False,
        derivatives=False,
        config=[_entities_below(bids_dir)],
        indexer=indexer,
        database_path=database_dir,
    )


def _entities_below(bids_dir: Path) -> dict[str, Any]:
    """Give PyBIDS's own configuration, whose patterns look only at what is below the root.

    As they come they take the first match in the whole path: every image of a dataset in
    ``/scratch/sub-99`` or ``/data/func`` would be of that participant or that datatype.
    """
    text = (files("bids") / "layout/config/bids.json").read_text(encoding="utf-8")
    config: dict[str, Any] = json.loads(text)
    above = rf"^{re.escape(str(bids_dir.absolute()))}(?s:.*?)"
    for entity in config["entities"]:
        if entity.get("pattern", "").startswith("["):  # others look at the end of a name
            entity["pattern"] = above + entity["pattern"]
    return config


def find_database(database_dir: Path, selection: Mapping[str, Any]) -> Path | None:
    """Find a kept index of the same dataset that holds at least the selection."""
    for file in sorted(database_dir.glob(f"*/{SELECTION_FILE}")):
        try:
            stored = read_json_object(file)
        except BidsDataError:
            continue
        same_root = stored.get("bids_dir") == selection["bids_dir"]
        enough = set(selection["participants"]) <= set(stored.get("participants") or ())
        kept = stored.get("sessions")
        wanted = selection["sessions"]
        if kept is not None:
            enough = enough and wanted is not None and set(wanted) <= set(kept)
        if same_root and enough and not file.parent.name.startswith("."):
            return file.parent
    return None


def open_database(folder: Path, bids_dir: Path) -> BIDSLayout | None:
    """Open a kept index; one that is damaged is removed, since it can be made again.

    Parameters
    ----------
    folder
        Of one index.
    bids_dir
        Root of the dataset.

    Returns
    -------
    BIDSLayout or None
        None where the index was damaged.
    """
    try:
        layout = BIDSLayout(bids_dir, database_path=folder)
        layout.get(suffix="dwi")  # reads the tables
    except (DatabaseError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        LOGGER.warning("The index in %s is damaged and is made anew: %s", folder, reason)
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return layout
