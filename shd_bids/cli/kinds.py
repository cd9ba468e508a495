"""What the folder of a group level holds: results of one kind of scans, or folders of several."""

from pathlib import Path

from shd_bids.errors import ConfigError


def check_one_kind(folder: Path, pattern: str, flag: str) -> None:
    """Refuse a folder whose results lie in folders of their own for each kind of scans.

    Parameters
    ----------
    folder
        As given on the command line.
    pattern
        Of the names that are searched for.
    flag
        For the message.

    Raises
    ------
    ConfigError
        When one of its folders holds such files, with the names of these folders.
    """
    kinds = sorted({file.parent for file in folder.glob(f"*/{pattern}")})
    if not kinds:
        return
    names = ", ".join(kind.name for kind in kinds)
    own = any(folder.glob(pattern))
    raise ConfigError(
        f"{flag} {folder} holds a folder for each kind of scans that the group level found: "
        f"{names}"
        + (", and results of a run that found one kind. " if own else ". ")
        + f"Give the one for these scans, such as {flag} {kinds[0]}"
        + (", or remove what is out of date." if own else ".")
    )
