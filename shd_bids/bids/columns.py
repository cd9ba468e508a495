"""What a sidecar says of the columns of a table."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shd_bids.bids.json_files import read_json_object
from shd_bids.errors import BidsDataError

LOGGER = logging.getLogger(__name__)


def column_fields(columns: Mapping[str, tuple[str, str | None]]) -> dict[str, Any]:
    """Describe the columns of a table, as BIDS wants it in the sidecar of a TSV file.

    Parameters
    ----------
    columns
        What each column is, and its unit; ``1`` for a plain number, None for text and labels.

    Returns
    -------
    dict[str, Any]
        ``Description`` and ``Units`` by the name of the column.

    Examples
    --------
    >>> column_fields({"name": ("Region", None), "length": ("Mean", "mm")})
    {'name': {'Description': 'Region'}, 'length': {'Description': 'Mean', 'Units': 'mm'}}
    """
    return {
        name: {"Description": text} | ({} if unit is None else {"Units": unit})
        for name, (text, unit) in columns.items()
    }


def columns_of(table_file: Path) -> dict[str, Any]:
    """Describe the columns of someone else's table by the sidecar that it has, if it has one.

    Parameters
    ----------
    table_file
        TSV with a header.

    Returns
    -------
    dict[str, Any]
        A field for each column; without a description where its own sidecar has none.
    """
    sidecar_file, described = table_file.with_suffix(".json"), {}
    if sidecar_file.is_file():
        try:
            described = read_json_object(sidecar_file)
        except BidsDataError as error:
            LOGGER.warning("Columns of %s are not described: %s", table_file.name, error)
    with table_file.open(encoding="utf-8-sig", errors="replace") as stream:
        names = stream.readline().rstrip("\r\n").split("\t")
    unknown = {"Description": f"As in {table_file.name} of the input, which does not describe it."}
    return {name: described.get(name, unknown) for name in names}
