"""One file of TemplateFlow: on this machine, or fetched, or a message that says how to get it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shd_bids.errors import AnatomyError


@dataclass(frozen=True)
class Request:
    """What is asked of TemplateFlow, and on whose behalf.

    Parameters
    ----------
    template
        Its name.
    query
        Entities of the file, as ``templateflow.api`` takes them.
    wanted
        The file in words.
    flag, instead
        What asks for it, and what to give otherwise, for the message.
    """

    template: str
    query: Mapping[str, Any]
    wanted: str
    flag: str
    instead: str


def list_files(request: Request) -> list[Path]:
    """List the files that TemplateFlow knows; those that are not on this machine are stubs.

    Raises
    ------
    AnatomyError
        If it does not know the template, or cannot use its folder.
    """
    try:
        from templateflow import api  # makes its folder, which may be read-only
    except OSError as error:
        raise AnatomyError(
            f"TemplateFlow cannot use its folder: {error}. Set TEMPLATEFLOW_HOME to a folder that "
            f"can be written or already holds the template, or give {request.instead}."
        ) from error
    try:
        return [Path(file) for file in api.ls(request.template, **request.query)]
    except ValueError as error:  # pybids does not know the name
        raise AnatomyError(f"{request.flag} {request.template}: {error}") from error


def find_file(request: Request, *, download: bool) -> Path:
    """Find the first file that fits a request.

    Parameters
    ----------
    request
        What is asked for.
    download
        Ask the network for what is not there.

    Returns
    -------
    Path
        It exists and is not empty.

    Raises
    ------
    AnatomyError
        If it cannot be had; the message says how to get it.
    """
    files = list_files(request)
    if not files:
        raise AnatomyError(
            f"TemplateFlow knows no file for {request.wanted}. Check {request.flag} against "
            f"https://www.templateflow.org/browse, or give {request.instead}."
        )
    from templateflow import api
    from templateflow.conf import TF_HOME

    file = files[0]
    reason = "it is not on this machine"
    if not _here(file) and download:
        try:
            api.get(request.template, raise_empty=True, **request.query)
        except (OSError, RuntimeError) as error:  # no network, a full disk, a bad answer
            last = error.args[0] if error.args else error  # of many tries, which have one reason
            reason = f"fetching it failed ({getattr(last, 'reason', error)})"
    if _here(file):
        return file
    raise AnatomyError(
        f"{file} is missing, {request.wanted}: {reason}. {_advice(request, TF_HOME)}; or give "
        f"{request.instead}."
    )


def _advice(request: Request, home: Path) -> str:
    """Say how to get a file, where TemplateFlow's folder may be of an image that is read-only."""
    run = f"run `{_command(request)}` with TEMPLATEFLOW_HOME"
    if os.access(home, os.W_OK):
        return f"With a network, {run}={home}"
    return (
        f"{home} cannot be written. On a machine with a network, {run} set to a folder of yours; "
        "then set it to that folder here as well (bind the folder, in a container)"
    )


def _here(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0  # a stub of TemplateFlow is empty


def _command(request: Request) -> str:
    options = {
        {"resolution": "res"}.get(name, name): value
        for name, value in request.query.items()
        if value is not None and name != "extension"
    }
    words = [f"--{name} {value}" for name, value in options.items()]
    return " ".join(["templateflow get", request.template, *words])
