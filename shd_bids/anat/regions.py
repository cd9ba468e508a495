"""The regions of an atlas: a label image, and the table that names its labels."""

import csv
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, Integer, Num

from shd_bids.errors import AnatomyError

LOGGER = logging.getLogger(__name__)

Table = dict[str, list[str]]
_N_SHOWN = 10
_LONGEST_SHOWN = 40  # letters
_LABEL = re.compile(r"[1-9][0-9]{0,9}")
_LARGEST_LABEL = 2**31 - 1  # of 32 bits, as images hold them


def read_regions(file: Path) -> Table:
    """Read the table of an atlas's labels, as BIDS has it.

    Parameters
    ----------
    file
        Tab-separated with a header; ``index`` and ``name`` are among its columns.

    Returns
    -------
    Table
        Columns by name, as text; 0, the background, is left out.

    Raises
    ------
    AnatomyError
        If it is no text, a column is missing, or an index is no whole number or there twice.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t", restval="n/a")
            columns = [name for name in (reader.fieldnames or []) if name]
            rows = list(reader)
    except (UnicodeDecodeError, OSError, csv.Error) as error:
        raise AnatomyError(
            f"{file} is no UTF-8 text ({error}). Save it as UTF-8, tab-separated."
        ) from error
    missing = [name for name in ("index", "name") if name not in columns]
    if missing:
        found = _show(columns) or "none"
        raise AnatomyError(
            f"{file} has no column {' or '.join(missing)}; found {found}. Expected tab-separated "
            "columns, index (the number in the image) and name among them."
        )
    kept = [row for row in rows if row["index"].strip() != "0"]
    numbers = [row["index"].strip() for row in kept]
    bad = [
        number for number in numbers if not _LABEL.fullmatch(number) or int(number) > _LARGEST_LABEL
    ]
    bad += [number for number, count in Counter(numbers).items() if count > 1]
    if bad or not numbers:
        found = f"the index {_show(bad)}" if bad else "no region"
        raise AnatomyError(
            f"{file} has {found}; expected each region once, by a whole number from 1 to "
            f"{_LARGEST_LABEL}."
        )
    return {name: [str(row[name]) for row in kept] for name in columns}


def check_labels(
    data: Num[np.ndarray, "*axes"], regions: Mapping[str, list[str]], *, image: Path, table: Path
) -> Int[np.ndarray, "x y z"]:
    """Check that an image holds the labels that a table names.

    Parameters
    ----------
    data
        Of the image.
    regions
        As `read_regions` gives it. Regions that the image lacks are warned of.
    image, table
        For the message.

    Returns
    -------
    Int[np.ndarray, "x y z"]
        The labels as 32-bit integers.

    Raises
    ------
    AnatomyError
        If it is no label image, or holds a label that has no name.
    """
    volume = np.squeeze(data)
    if volume.ndim != 3 or not np.all(np.isfinite(volume)) or np.any(volume != np.rint(volume)):
        raise AnatomyError(
            f"{image} is no label image: found {data.ndim} axes {data.shape}, values from "
            f"{data.min():g} to {data.max():g}. Expected one volume of whole numbers; --atlases "
            "takes no maps of probability."
        )
    labels = volume.astype(np.int32)
    named = {int(number) for number in regions["index"]}
    there = {int(number) for number in np.unique(labels)} - {0}
    if nameless := sorted(there - named):
        raise AnatomyError(
            f"{image} holds the label(s) {_some(nameless)}, which {table} does not name: it has "
            f"{len(named)} regions from {min(named)} to {max(named)}. Give the table that belongs "
            f"to the image, --atlases {image.name},LABELS.tsv."
        )
    if absent := sorted(named - there):
        LOGGER.warning(
            "%s names the label(s) %s, of which %s has no voxel. If that is not meant, give the "
            "table that belongs to the image, --atlases IMAGE,LABELS.tsv.",
            table, _some(absent), image,
        )  # fmt: skip
    if not there:
        raise AnatomyError(f"{image} holds no label; expected those that {table} names.")
    return labels


def count_voxels(
    labels: Integer[np.ndarray, "x y z"], regions: Mapping[str, list[str]]
) -> dict[str, int]:
    """Count the voxels of each region, by its index in the table's order.

    Examples
    --------
    >>> count_voxels(np.array([[[0, 2, 2]]]), {"index": ["1", "2"], "name": ["a", "b"]})
    {'1': 0, '2': 2}
    """
    found, counts = np.unique(labels, return_counts=True)
    by_label = dict(zip(found.tolist(), counts.tolist(), strict=True))
    return {number: by_label.get(int(number), 0) for number in regions["index"]}


def _some(numbers: list[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:_N_SHOWN])
    return shown + (f" and {len(numbers) - _N_SHOWN} more" if len(numbers) > _N_SHOWN else "")


def _show(values: Sequence[str]) -> str:
    """Show some values of a table, cut where they are long."""
    return ", ".join(value[:_LONGEST_SHOWN] or "nothing" for value in values[:_N_SHOWN])
