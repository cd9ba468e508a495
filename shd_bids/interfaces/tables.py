"""Tables as BIDS wants them: tab-separated, with a header, `n/a` for what is missing."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def write_table(columns: Mapping[str, Iterable[Any]], file: Path) -> str:
    """Write columns of equal length as TSV.

    Parameters
    ----------
    columns
        Values by name of the column.
    file
        Where to write.

    Returns
    -------
    str
        The absolute path, as nipype wants it.
    """
    rows = zip(*columns.values(), strict=True)
    lines = ["\t".join(columns), *("\t".join(map(_as_text, row)) for row in rows)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(file.absolute())


def read_table(file: str | Path, *, texts: Sequence[str]) -> pd.DataFrame:
    """Read what `write_table` wrote.

    Parameters
    ----------
    file
        Tab-separated.
    texts
        Columns that are text, whatever stands in them: a region may be called n/a, or 7.

    Returns
    -------
    DataFrame
        NaN for `n/a` in the other columns.
    """
    table = pd.read_csv(
        file, sep="\t", dtype=dict.fromkeys(texts, str), keep_default_na=False,
        na_values=["n/a"], quoting=csv.QUOTE_NONE,
    )  # fmt: skip
    return table.fillna(dict.fromkeys(texts, "n/a"))


def _as_text(value: Any) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}" if np.isfinite(value) else "n/a"
    return str(value)
