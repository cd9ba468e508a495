"""Whether Python was started in a way that the program and its libraries bear."""

import sys
from collections.abc import Sequence

from shd_bids.errors import ConfigError


def check_python(arguments: Sequence[str]) -> None:
    """Refuse what would end in a traceback of a library.

    Parameters
    ----------
    arguments
        Of the command line.

    Raises
    ------
    ConfigError
        When docstrings are stripped, which DIPY adds to, or a name is no Unicode, which PyBIDS
        keeps names as.
    """
    if sys.flags.optimize > 1:
        raise ConfigError(
            "Python strips docstrings (-OO or PYTHONOPTIMIZE=2), without which DIPY cannot be "
            "imported. Leave that out; PYTHONOPTIMIZE=1 is fine."
        )
    for argument in arguments:
        try:
            argument.encode("utf-8")
        except UnicodeEncodeError as error:
            shown = argument.encode("utf-8", "backslashreplace").decode()
            raise ConfigError(
                f"The name {shown} is no Unicode to Python, whose file names are in "
                f"{sys.getfilesystemencoding()}. Set LC_ALL=C.UTF-8 and leave PYTHONUTF8=0 out, or "
                "rename what is in an older encoding."
            ) from error
