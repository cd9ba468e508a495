"""Queries of a filter file, asked of a name instead of an index."""

from collections.abc import Mapping
from typing import Any

from bids.layout import Query

from shd_bids.bids.names import SHORT_NAMES, BidsName
from shd_bids.errors import ConfigError

_OTHERS = {"space": "space", "desc": "desc", "resolution": "res"}


def matches(name: BidsName, query: Mapping[str, Any], *, datatype: str) -> bool:
    """Tell whether a file is one that a query of a filter file asks for.

    Parameters
    ----------
    name
        Of the file.
    query
        Labels, numbers, PyBIDS's ``Query`` or lists of these, by PyBIDS's names of entities.
    datatype
        Of the file's folder.

    Returns
    -------
    bool
        True for an empty query.

    Raises
    ------
    ConfigError
        If the query names an entity that is not known.

    Examples
    --------
    >>> name = BidsName({"sub": "01", "acq": "hi", "run": "02"}, "dwi", ".nii.gz")
    >>> matches(name, {"acquisition": ["hi", "lo"], "run": 2}, datatype="dwi")
    True
    >>> matches(name, {"acquisition": Query.NONE}, datatype="dwi")
    False
    """
    known = {long: name.entities.get(short) for long, short in (SHORT_NAMES | _OTHERS).items()}
    known |= {"suffix": name.suffix, "extension": name.extension, "datatype": datatype}
    unknown = sorted(set(query) - set(known))
    if unknown:
        raise ConfigError(
            f"--bids-filter-file: no entity {', '.join(unknown)} is known; these are: "
            f"{', '.join(known)}."
        )
    return all(
        any(_is(known[key], one) for one in (wanted if isinstance(wanted, list) else [wanted]))
        for key, wanted in query.items()
    )


def _is(label: str | None, wanted: Any) -> bool:
    if wanted is Query.NONE:
        return label is None
    if wanted is Query.ANY:
        return label is not None
    if isinstance(wanted, int):
        return label is not None and label.isdigit() and int(label) == wanted
    return label == wanted
