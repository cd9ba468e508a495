"""Which template a T1w image is brought to, and where its files are.

A template has a name that TemplateFlow knows, with ``:res-N`` and ``:cohort-N`` after it as in
fMRIPrep's ``--output-spaces``, or it is a file of the user's.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shd_bids.errors import AnatomyError

from .templateflow import Request, find_file

DEFAULT_TEMPLATE = "MNI152NLin2009cAsym"
_FLAG = "--anat-template"
_INSTEAD = "--anat-template FILE,MASK"
_MODIFIER = re.compile(r"(res|cohort)-(\d+)")


@dataclass(frozen=True)
class Template:
    """A head and its brain mask; without a mask, the brain is what is not 0."""

    name: str
    t1w_file: Path
    mask_file: Path | None = None


def find_template(space: str = DEFAULT_TEMPLATE, *, download: bool = False) -> Template:
    """Find the files of a template.

    Parameters
    ----------
    space
        ``NAME[:res-N][:cohort-N]`` of TemplateFlow, resolution 1 if none is given; or
        ``T1W_FILE[,MASK_FILE]``, ending in ``.nii`` or ``.nii.gz``.
    download
        Ask the network for what is not there.

    Returns
    -------
    Template
        Its files exist.

    Raises
    ------
    AnatomyError
        If they cannot be had; the message says how to get them.
    """
    if is_file_template(space):
        return _given(space)
    name, options = parse_template(space)
    mask_options = _query(options) | {"suffix": "mask", "desc": "brain"}
    t1w_file = find_head(space, download=download)
    mask_file = _find(name, mask_options, _FLAG, _INSTEAD, download=download)
    return Template(name, t1w_file, mask_file)


def find_head(
    space: str, *, flag: str = _FLAG, instead: str = _INSTEAD, download: bool = False
) -> Path:
    """Find the T1w image of a template of TemplateFlow, as `find_template` does.

    Parameters
    ----------
    space
        ``NAME[:res-N][:cohort-N]``.
    flag, instead
        What asks for it, and what to give otherwise, for the message.
    download
        Ask the network if it is not there.

    Raises
    ------
    AnatomyError
        If it cannot be had.
    """
    name, options = parse_template(space)
    query = _query(options) | {"suffix": "T1w", "desc": None}
    return _find(name, query, flag, instead, download=download)


def is_file_template(space: str) -> bool:
    """Tell whether a template is given as files, not by name."""
    return space.split(",")[0].endswith((".nii", ".nii.gz"))


def parse_template(space: str) -> tuple[str, dict[str, int]]:
    """Take a name and the numbers behind it apart.

    Raises
    ------
    AnatomyError
        If it cannot be one.

    Examples
    --------
    >>> parse_template("MNI152NLin2009cAsym:res-2")
    ('MNI152NLin2009cAsym', {'res': 2})
    """
    name, *modifiers = space.split(":")
    found = [_MODIFIER.fullmatch(text) for text in modifiers]
    if not name.isalnum() or not all(found):
        raise AnatomyError(
            f"{_FLAG} {space!r} names no template; expected NAME, NAME:res-2 or NAME:cohort-3 as "
            f"in {DEFAULT_TEMPLATE}:res-2, or a NIfTI file that exists."
        )
    return name, {match.group(1): int(match.group(2)) for match in found if match}


def template_available(space: str = DEFAULT_TEMPLATE) -> bool:
    """Tell whether the files of a template are on this machine."""
    try:
        find_template(space)
    except AnatomyError:
        return False
    return True


def _given(space: str) -> Template:
    files = [Path(part).absolute() for part in space.split(",")]  # nodes run elsewhere
    missing = [str(file) for file in files if not file.is_file()]
    if missing or len(files) > 2:
        raise AnatomyError(
            f"{_FLAG} {space}: "
            + (f"there is no file {', '.join(missing)}." if missing else "too many files.")
            + " Expected a T1w image and, behind a comma, its brain mask."
        )
    stem = files[0].name.removesuffix(".gz").removesuffix(".nii")
    named = re.search(r"tpl-([A-Za-z0-9]+)", stem)
    name = named.group(1) if named else re.sub(r"[^A-Za-z0-9]", "", stem) or "template"
    return Template(name, files[0], files[1] if len(files) > 1 else None)


def _query(numbers: dict[str, int]) -> dict[str, Any]:
    query: dict[str, Any] = {"resolution": numbers.get("res", 1), "extension": ".nii.gz"}
    return query | ({"cohort": numbers["cohort"]} if "cohort" in numbers else {})


def _find(name: str, query: dict[str, Any], flag: str, instead: str, *, download: bool) -> Path:
    wanted = f"the {query['suffix']} image of {name} (resolution {query['resolution']})"
    return find_file(Request(name, query, wanted, flag, instead), download=download)
