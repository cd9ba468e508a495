"""The output dataset's own files: its description and what validators should pass over."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shd_bids.bids.files import dataset_lock, write_json, write_text

BIDS_VERSION = "1.10.0"
CODE_URL = "https://github.com/shd-bids/shd-bids"

# What BIDS has no rule for yet. A folder is named without a slash: the validator wants it so.
BIDSIGNORE = """\
*.html
logs
log
figures
group
.shd-bids.lock
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


def write_dataset_files(output_dir: Path, description: Mapping[str, Any]) -> None:
    """Write ``dataset_description.json`` and ``.bidsignore`` under the dataset's lock.

    Parameters
    ----------
    output_dir
        Root of the output dataset.
    description
        As made by `dataset_description`.
    """
    with dataset_lock(output_dir):
        write_json(output_dir / "dataset_description.json", description)
        write_text(output_dir / ".bidsignore", BIDSIGNORE)


def dataset_description(
    *,
    version: str,
    links: Mapping[str, Path],
    input_description: Mapping[str, Any],
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
    container
        ``Type``, and ``Tag`` or ``URI``, of the container that the program runs in; None outside.

    Returns
    -------
    dict[str, Any]
        Content of ``dataset_description.json``.
    """
    generated_by: dict[str, Any] = {"Name": "shd-bids", "Version": version, "CodeURL": CODE_URL}
    if container:
        generated_by["Container"] = dict(container)
    urls = {name: folder.resolve().as_uri() for name, folder in links.items()}
    source, *others = ({"URL": url} for url in urls.values())
    doi = input_description.get("DatasetDOI")
    if isinstance(doi, str) and doi:
        source = {"URL": doi if "://" in doi else f"https://doi.org/{doi.removeprefix('doi:')}"}
    description: dict[str, Any] = {
        "Name": "shd-bids: fibre orientation distributions and tractograms",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [generated_by],
        "SourceDatasets": [source, *others],
        "DatasetLinks": urls,
        "HowToAcknowledge": "Cite the works listed in logs/CITATION.md.",
    }
    if "License" in input_description:
        description["License"] = input_description["License"]
    return description
