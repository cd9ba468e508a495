"""The output dataset's own files: its description, its README, what validators should pass over."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shd_bids.bids.dataset import read_dataset_description
from shd_bids.bids.files import dataset_lock, remove_leftovers, write_json, write_text
from shd_bids.bids.generators import generator_entries
from shd_bids.errors import OutputError

BIDS_VERSION = "1.10.0"
CODE_URL = "https://github.com/shd-bids/shd-bids"
TEMPLATEFLOW = "templateflow"  # a link that is no source: what is taken from it are references
_NAME = "shd-bids"
_PAPER_URL = "https://arxiv.org/abs/2411.11819"
_FIRST_VERSION = re.compile(r"^\s*v?(\d+(?:\.\d+)+\S*)", re.MULTILINE)

# What BIDS has no rule for yet: reports and logs, BEP016's and BEP046's files, transforms, tables,
# gradients of a series with space and desc. Field maps have one, but the validator wants a raw
# magnitude image beside them. A folder is named without a slash: the validator wants it so.
BIDSIGNORE = """\
*.html
logs
log
figures
group*
*_dwimap.*
*_dwiref.*
*_xfm.*
*_fieldmap.*
*_tractogram.*
*_model.*
*_connectivity.*
*_qc.*
*_timeseries.*
*_desc-preproc_dwi.bval
*_desc-preproc_dwi.bvec
"""

README = f"""\
# Derivatives by shd-bids

Made from diffusion MRI by shd-bids ({CODE_URL}).

- `sub-<label>.html`: the report of a participant; its pictures lie in `sub-<label>/figures`.
- `sub-<label>[/ses-<label>]/dwi`: preprocessed series, masks, measures, response functions, fibre
  orientation distributions, maps, streamlines, connectivity matrices.
- `sub-<label>[/ses-<label>]/anat`: the T1w image, its brain, tissues and transforms.
- `sub-<label>[/ses-<label>]/fmap`: the field and the displacement by susceptibility.
- `sub-<label>/log`: settings, messages and crash files of each run.
- `logs`: the methods text and the works to cite.

Every data file has a JSON sidecar: what it is, its units, what it was made from (BIDS URIs, whose
datasets `dataset_description.json` names under `DatasetLinks`), settings and software version.
The page `docs/outputs.md` of the software describes every file, and how to query them with PyBIDS.
"""


def write_dataset_files(output_dir: Path, description: Mapping[str, Any]) -> None:
    """Write the dataset's own files under its lock; what earlier runs left there stays true.

    Parameters
    ----------
    output_dir
        Root of the output dataset.
    description
        As made by `dataset_description`.

    Raises
    ------
    OutputError
        If the folder holds a dataset that is not by this program.
    """
    file = output_dir / "dataset_description.json"
    with dataset_lock(output_dir):
        for name in (file.name, ".bidsignore", "README.md"):
            remove_leftovers(output_dir, name)
        remove_leftovers(output_dir / "logs")
        earlier = read_dataset_description(output_dir) if file.is_file() else {}
        if earlier and not any(entry.get("Name") == _NAME for entry in generator_entries(earlier)):
            raise OutputError(
                f"{file} is not by shd-bids, but describes {earlier.get('Name', 'a dataset')!r}; "
                "expected an empty folder, or one of an earlier run. Give another output folder."
            )
        write_json(file, merge_descriptions(description, earlier))
        _write_ignored(output_dir / ".bidsignore")
        if not any(output_dir.glob("README*")):
            write_text(output_dir / "README.md", README)


def dataset_description(
    *,
    version: str,
    links: Mapping[str, Path],
    input_description: Mapping[str, Any],
    other_descriptions: Mapping[str, Mapping[str, Any]] | None = None,
    container: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Describe the output dataset: who made it, from what.

    Parameters
    ----------
    version
        Version of shd-bids.
    links
        Roots of the datasets that it was made from by the names that BIDS URIs use; the first is
        the input.
    input_description
        The input's own ``dataset_description.json``.
    other_descriptions
        Those of other links, by their names.
    container
        ``Type``, and ``Tag`` or ``URI``, of the container that the program runs in; None outside.

    Returns
    -------
    dict[str, Any]
        Content of ``dataset_description.json``; the programs that made the inputs are named after
        this one.
    """
    ours: dict[str, Any] = {"Name": _NAME, "Version": version, "CodeURL": CODE_URL}
    if container:
        ours["Container"] = dict(container)
    others = other_descriptions or {}
    described = [input_description, *[others.get(name, {}) for name in links][1:]]
    programs = [entry for about in described for entry in generator_entries(about)]
    sources = [
        _source(folder, about)
        for (name, folder), about in zip(links.items(), described, strict=True)
        if name != TEMPLATEFLOW
    ]
    description: dict[str, Any] = {
        "Name": "shd-bids: fibre orientation distributions and tractograms",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": _each_once([ours, *programs]),
        "SourceDatasets": sources,
        "DatasetLinks": {name: folder.resolve().as_uri() for name, folder in links.items()},
        "HowToAcknowledge": "Cite the works listed in logs/CITATION.md.",
        "ReferencesAndLinks": [CODE_URL, _PAPER_URL],
    }
    if "License" in input_description:
        description["License"] = input_description["License"]
    return description


def merge_descriptions(ours: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of an earlier description what files of earlier runs rest on, and what a user added.

    Parameters
    ----------
    ours
        Of this run.
    earlier
        What stands there; empty at the first run.

    Returns
    -------
    dict[str, Any]
        Links, sources and programs of both; of two links of one name, that of this run, because
        one dataset may lie in different places at different times.

    Examples
    --------
    >>> links = {"raw": "file:///a", "templateflow": "file:///t"}
    >>> merge_descriptions({"DatasetLinks": {"raw": "file:///b"}}, {"DatasetLinks": links})
    {'DatasetLinks': {'raw': 'file:///b', 'templateflow': 'file:///t'}}
    """
    merged = {**earlier, **ours}
    if isinstance(earlier.get("DatasetLinks"), dict):
        merged["DatasetLinks"] = {**earlier["DatasetLinks"], **ours.get("DatasetLinks", {})}
    if isinstance(earlier.get("SourceDatasets"), list):
        sources = [*ours.get("SourceDatasets", []), *earlier["SourceDatasets"]]
        merged["SourceDatasets"] = _each_once(sources)
    if earlier.get("GeneratedBy"):
        others = [entry for entry in generator_entries(earlier) if entry.get("Name") != _NAME]
        merged["GeneratedBy"] = _each_once([*ours.get("GeneratedBy", []), *others])
    return merged


def _source(folder: Path, description: Mapping[str, Any]) -> dict[str, str]:
    """Name a source: by its DOI if it has one, and with its version if that is known."""
    source = {"URL": folder.resolve().as_uri()}
    doi = description.get("DatasetDOI")
    if isinstance(doi, str) and doi:
        url = doi if "://" in doi else f"https://doi.org/{doi.removeprefix('doi:')}"
        source = {"URL": url, "DOI": doi}
    version = _latest_version(folder / "CHANGES")
    return source | ({"Version": version} if version else {})


def _latest_version(changes_file: Path) -> str | None:
    """Read the version of a dataset: BIDS wants the newest first in ``CHANGES``."""
    try:
        found = _FIRST_VERSION.search(changes_file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError):
        return None  # most datasets have none
    return found[1] if found else None


def _write_ignored(file: Path) -> None:
    """Write what validators should pass over; lines that a user added stay."""
    ours = BIDSIGNORE.splitlines()
    there = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    write_text(file, "\n".join([*ours, *(line for line in there if line not in ours)]) + "\n")


def _each_once(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for i, entry in enumerate(entries) if entry not in entries[:i]]
