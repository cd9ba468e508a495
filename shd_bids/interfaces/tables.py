"""Tables as BIDS wants them: tab-separated, with a header, `n/a` for what is missing."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


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


def _as_text(value: Any) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}" if np.isfinite(value) else "n/a"
    return str(value)
