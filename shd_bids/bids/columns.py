"""What a sidecar says of the columns of a table."""

from collections.abc import Mapping
from typing import Any


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
    >>> column_fields({"name": ("Name of the region", None), "length": ("Mean length", "mm")})
    {'name': {'Description': 'Name of the region'},
     'length': {'Description': 'Mean length', 'Units': 'mm'}}
    """
    return {
        name: {"Description": text} | ({} if unit is None else {"Units": unit})
        for name, (text, unit) in columns.items()
    }
