"""Which template a T1w image is brought to, and where its files are.

A template has a name that TemplateFlow knows, with ``:res-N`` and ``:cohort-N`` after it as in
fMRIPrep's ``--output-spaces``, or it is a file of the user's.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shd_bids.errors import AnatomyError

DEFAULT_TEMPLATE = "MNI152NLin2009cAsym"
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
    if space.split(",")[0].endswith((".nii", ".nii.gz")):
        return _given(space)
    name, options = _parse(space)
    mask_options = options | {"suffix": "mask", "desc": "brain"}
    t1w_file = _find(name, options | {"suffix": "T1w", "desc": None}, download=download)
    return Template(name, t1w_file, _find(name, mask_options, download=download))


def template_available(space: str = DEFAULT_TEMPLATE) -> bool:
    """Tell whether the files of a template are on this machine."""
    try:
        find_template(space)
    except AnatomyError:
        return False
    return True


def _given(space: str) -> Template:
    files = [Path(part) for part in space.split(",")]
    missing = [str(file) for file in files if not file.is_file()]
    if missing or len(files) > 2:
        raise AnatomyError(
            f"--anat-template {space}: "
            + (f"there is no file {', '.join(missing)}." if missing else "too many files.")
            + " Expected a T1w image and, behind a comma, its brain mask."
        )
    stem = files[0].name.removesuffix(".gz").removesuffix(".nii")
    named = re.search(r"tpl-([A-Za-z0-9]+)", stem)
    name = named.group(1) if named else re.sub(r"[^A-Za-z0-9]", "", stem) or "template"
    return Template(name, files[0], files[1] if len(files) > 1 else None)


def _parse(space: str) -> tuple[str, dict[str, Any]]:
    name, *modifiers = space.split(":")
    found = [_MODIFIER.fullmatch(text) for text in modifiers]
    if not name.isalnum() or not all(found):
        raise AnatomyError(
            f"{space!r} names no template; expected NAME, NAME:res-2 or NAME:cohort-3 as in "
            f"{DEFAULT_TEMPLATE}:res-2, or a NIfTI file that exists."
        )
    values = {match.group(1): int(match.group(2)) for match in found if match}
    options: dict[str, Any] = {"resolution": values.get("res", 1), "extension": ".nii.gz"}
    if "cohort" in values:
        options["cohort"] = values["cohort"]
    return name, options


def _find(name: str, query: dict[str, Any], *, download: bool) -> Path:
    wanted = f"the {query['suffix']} image of {name} (resolution {query['resolution']})"
    try:
        from templateflow import api  # makes its folder, which may be read-only
        from templateflow.conf import TF_HOME
    except OSError as error:
        raise AnatomyError(
            f"TemplateFlow cannot use its folder: {error}. Set TEMPLATEFLOW_HOME to a folder that "
            "can be written or already holds the template, or give --anat-template FILE,MASK."
        ) from error
    try:
        files = [Path(file) for file in api.ls(name, **query)]
    except ValueError as error:  # pybids does not know the name
        raise AnatomyError(f"--anat-template {name}: {error}") from error
    if not files:
        raise AnatomyError(
            f"TemplateFlow knows no file for {wanted}. Check --anat-template against "
            "https://www.templateflow.org/browse, or give --anat-template FILE,MASK."
        )
    file = files[0]
    reason = "it is not on this machine"
    if not _here(file) and download:
        try:
            api.get(name, raise_empty=True, **query)
        except (OSError, RuntimeError) as error:  # no network, a full disk, a bad answer
            reason = f"fetching it failed ({error})"
    if _here(file):
        return file
    fetch = f"templateflow get {name} --suffix {query['suffix']} --res {query['resolution']}"
    raise AnatomyError(
        f"{file} is missing, {wanted}: {reason}. With a network, run `{fetch}` with "
        f"TEMPLATEFLOW_HOME={TF_HOME}; or give --anat-template FILE,MASK."
    )


def _here(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0  # a stub of TemplateFlow is empty
