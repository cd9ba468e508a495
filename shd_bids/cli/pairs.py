"""Values of the form NAME=PATH."""

from collections.abc import Sequence
from pathlib import Path

from shd_bids.errors import ConfigError


def read_pairs(values: Sequence[str], *, flag: str, expected: str) -> dict[str, Path]:
    """Read the values of a flag as paths by name.

    Parameters
    ----------
    values
        As given on the command line.
    flag
        For the message.
    expected
        What should have been given, for the message.

    Raises
    ------
    ConfigError
        When a value is not of the form ``NAME=PATH``.

    Examples
    --------
    >>> read_pairs(["qsiprep=/out"], flag="-d", expected="NAME=PATH")["qsiprep"].name
    'out'
    """
    paths = {}
    for value in values:
        name, separator, path = value.partition("=")
        if not name or not separator or not path:
            raise ConfigError(f"{flag} {value}: expected {expected}.")
        paths[name] = Path(path)
    return paths
