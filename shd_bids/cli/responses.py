"""What `--response` names: one file per tissue, or a folder that holds them."""

from collections.abc import Sequence
from pathlib import Path

from shd_bids.config import TISSUES
from shd_bids.errors import ConfigError

from .kinds import check_one_kind
from .pairs import read_pairs

_PATTERNS = (
    "*param-response*label-{upper}_*.txt",
    "*response*{upper}*.txt",
    "*response*{lower}*.txt",
    "{upper}.txt",
    "{lower}.txt",
)


def find_response_files(values: Sequence[str]) -> dict[str, Path]:
    """Find the response file of each tissue.

    Parameters
    ----------
    values
        `TISSUE=FILE` for each tissue, or a single folder.

    Returns
    -------
    dict
        File by tissue label.

    Raises
    ------
    ConfigError
        When a value is neither, or a folder holds no or several responses of a tissue.

    Examples
    --------
    >>> find_response_files(["WM=wm.txt", "csf=csf.txt"])["CSF"].name
    'csf.txt'
    """
    if len(values) == 1 and "=" not in values[0]:
        return _search_folder(Path(values[0]))
    expected = "TISSUE=FILE, such as WM=wm.txt, or one folder"
    files = read_pairs(values, flag="--response", expected=expected)
    return {tissue.upper(): file for tissue, file in files.items()}


def _search_folder(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise ConfigError(f"--response {folder}: there is no such folder; or give TISSUE=FILE.")
    check_one_kind(folder, "group_*param-response*.txt", "--response")
    files = {}
    for tissue in TISSUES:
        for pattern in _PATTERNS:
            found = sorted(folder.glob(pattern.format(upper=tissue, lower=tissue.lower())))
            if len(found) > 1:
                names = ", ".join(file.name for file in found)
                raise ConfigError(
                    f"--response {folder} holds several responses of {tissue} ({names}). "
                    f"Name the one to use: {tissue}=FILE."
                )
            if found:
                files[tissue] = found[0]
                break
    if not files:
        raise ConfigError(
            f"--response {folder} holds no response file. Expected names such as "
            "*_param-response_label-WM_dwimap.txt or wm.txt."
        )
    return files
