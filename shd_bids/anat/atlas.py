"""Which atlases are brought to the series, and where their files are.

An atlas has a name that TemplateFlow knows, with ``:desc-LABEL`` and ``:res-N`` after it, or it is
a file of the user's. Either lies in the space of the template that the T1w image is brought to,
unless the file's name says ``space-T1w``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shd_bids.bids.names import BidsName
from shd_bids.errors import AnatomyError

from .regions import read_regions
from .templateflow import Request, find_file, list_files

_FLAG = "--atlases"
_INSTEAD = "--atlases FILE,LABELS.tsv"
_NAMED = re.compile(r"([A-Za-z0-9]+)(?::desc-([A-Za-z0-9]+))?(?::res-(\d+))?")


@dataclass(frozen=True)
class Atlas:
    """A label image and the table of its regions.

    ``label`` is what ``seg`` says in the names of outputs; ``space`` is what the image lies in.
    """

    label: str
    file: Path
    table_file: Path
    space: str


def find_atlas(asked: str, *, template: str | None, download: bool = False) -> Atlas:
    """Find the files of an atlas.

    Parameters
    ----------
    asked
        ``NAME[:desc-LABEL][:res-N]`` of TemplateFlow, resolution 1 if none is given, or a NIfTI
        file; behind a comma, the table of its regions if it is not the one beside it.
    template
        That the T1w image is brought to; None if there is none.
    download
        Ask the network for what is not there.

    Returns
    -------
    Atlas
        Its files exist, and its table can be used.

    Raises
    ------
    AnatomyError
        If they cannot be had; the message says how to get them.
    """
    image, *tables = asked.split(",")
    if len(tables) > 1:
        raise AnatomyError(f"{_FLAG} {asked}: expected an atlas and, behind a comma, one table.")
    given = Path(tables[0]).absolute() if tables else None  # nodes run elsewhere
    if given is not None and not given.is_file():
        raise AnatomyError(f"{_FLAG} {asked}: there is no file {given}.")
    if image.endswith((".nii", ".nii.gz")):
        atlas = _given(Path(image).absolute(), given, template)
    else:
        atlas = _named(image, given, template, download)
    read_regions(atlas.table_file)
    return atlas


def _given(file: Path, table: Path | None, template: str | None) -> Atlas:
    if not file.is_file():
        raise AnatomyError(
            f"{_FLAG} {file}: there is no such file. Give a label image, or an atlas's name in "
            "TemplateFlow."
        )
    stem = file.name.removesuffix(".gz").removesuffix(".nii")
    table = table or file.with_name(f"{stem}.tsv")
    if not table.is_file():
        raise AnatomyError(
            f"{_FLAG} {file}: there is no table of its regions, searched for {table}. Expected "
            f"tab-separated columns index and name; give it behind a comma, {_INSTEAD}."
        )
    entities, words = _take_apart(stem)
    space = entities.get("space") or entities.get("tpl") or template
    if space is None:
        raise AnatomyError(
            f"{_FLAG} {file} is taken to lie in the template of --anat-template, which is not "
            "there. If it lies in the space of the T1w image, its name must say space-T1w."
        )
    own = entities.get("seg") or entities.get("atlas")
    label = _label(own, entities.get("desc")) if own else _label(words or stem, None)
    return Atlas(label, file, table, space)


def _take_apart(stem: str) -> tuple[dict[str, str], str]:
    """Give the entities of a name that need not be BIDS's, and what else it says."""
    parts = [part.partition("-") for part in stem.removesuffix("_dseg").split("_")]
    entities = {key: label for key, dash, label in parts if dash}
    return entities, "".join(word for word, dash, _ in parts if not dash)


def _named(asked: str, table: Path | None, template: str | None, download: bool) -> Atlas:
    found = _NAMED.fullmatch(asked)
    if not found:
        raise AnatomyError(
            f"{_FLAG} {asked} names no atlas; expected a name of TemplateFlow such as "
            "Schaefer2018:desc-400Parcels7Networks, or a NIfTI file."
        )
    if template is None:
        raise AnatomyError(
            f"{_FLAG} {asked}: atlases of TemplateFlow lie in a template, and there is none that "
            "the T1w image could be brought to. See --anat-template."
        )
    name, desc, resolution = found.groups()
    query: dict[str, Any] = {"atlas": name, "suffix": "dseg"}
    images = query | {"extension": ".nii.gz", "resolution": int(resolution or 1)}
    choices = _choices(_request(template, images, name))
    if not choices:
        raise AnatomyError(
            f"{_FLAG} {asked}: TemplateFlow knows no such atlas in {template}, resolution "
            f"{images['resolution']}. It has {', '.join(_list_atlases(template)) or 'none'}; or "
            f"give {_INSTEAD}."
        )
    if desc not in choices and not (desc is None and len(choices) == 1):
        known = ", ".join(f"{name}:desc-{choice}" if choice else name for choice in choices)
        raise AnatomyError(
            f"{_FLAG} {asked} names no one atlas of TemplateFlow in {template}. Choose from "
            f"{known}."
        )
    desc = desc or choices[0]
    table = table or _find_table(template, query, desc, download)
    file = find_file(_request(template, images | {"desc": desc}, name), download=download)
    return Atlas(_label(name, desc), file, table, template)


def _find_table(template: str, query: dict[str, Any], desc: str | None, download: bool) -> Path:
    """Give the table of one atlas, or the one that all of its name share."""
    tables = query | {"extension": ".tsv"}
    shared = _choices(_request(template, tables, query["atlas"]))
    if desc not in shared and None not in shared:
        own = query["atlas"] + (f":desc-{desc}" if desc else "")
        raise AnatomyError(
            f"{_FLAG} {own}: TemplateFlow has no table of its regions. Give one behind a comma, "
            f"{_FLAG} {own},LABELS.tsv, with tab-separated columns index and name."
        )
    request = _request(
        template, tables | {"desc": desc if desc in shared else None}, query["atlas"]
    )
    return find_file(request, download=download)


def _request(template: str, query: dict[str, Any], name: str) -> Request:
    kind = "regions" if query["extension"] == ".tsv" else "image"
    return Request(
        template, query, f"the {kind} of the atlas {name} in {template}", _FLAG, _INSTEAD
    )


def _choices(request: Request) -> list[str | None]:
    """List the ``desc`` of the files that fit."""
    names = [BidsName.parse(file) for file in list_files(request)]
    return sorted({name.entities.get("desc") for name in names if name}, key=str)


def _list_atlases(template: str) -> Sequence[str]:
    query = {"suffix": "dseg", "extension": ".nii.gz"}
    names = [BidsName.parse(file) for file in list_files(_request(template, query, "any"))]
    return sorted({name.entities["atlas"] for name in names if name and "atlas" in name.entities})


def _label(name: str, desc: str | None) -> str:
    return re.sub(r"[^A-Za-z0-9+]", "", f"{name}+{desc}" if desc else name)
