"""The page of all flags, made from the parser itself so that the two cannot differ."""

import argparse
from typing import Any

from shd_bids.cli.parser import build_parser

PAGE = "command_line"
PLACE = "<!-- the flags -->"


def describe_parser(parser: argparse.ArgumentParser) -> str:
    """Write the arguments of a parser as Markdown, a heading for each group.

    Parameters
    ----------
    parser
        Its groups and their descriptions become sections.

    Returns
    -------
    str
        Text for MyST, in which each argument is an ``option``, so that other pages can link to it.
    """
    parts = []
    for group in parser._action_groups:  # argparse tells its groups nowhere else
        actions = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
        if actions:
            title = {"positional arguments": "Places and level", "options": "Help"}
            parts.append(f"## {title.get(group.title or '', group.title)}")
            parts += [group.description] if group.description else []
            parts += [_describe(parser, action) for action in actions]
    return "\n\n".join(parts) + "\n"


def _describe(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """Write one argument, with what it takes as `--help` shows it."""
    formatter = parser._get_formatter()
    taken = "" if action.nargs == 0 else formatter._format_args(action, _metavar(action))
    names = action.option_strings or [_metavar(action)]
    signature = ", ".join(f"{name} {taken}".strip() for name in names)
    if not action.option_strings:
        signature = names[0]
    told = formatter._expand_help(action) if action.help else ""
    if action.choices and not action.option_strings:
        told = f"`{'`, `'.join(map(str, action.choices))}`. {told}"
    return f"````{{option}} {signature}\n{_escape(told)}\n````"


def _metavar(action: argparse.Action) -> str:
    if action.metavar is None and action.choices and action.option_strings:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return str(action.metavar or action.dest.rpartition(".")[2].upper())


def _escape(text: str) -> str:
    r"""Keep Markdown from reading marks into plain help texts, and show flags and names as code.

    Examples
    --------
    >>> _escape("named *_T1w; see --level")
    'named \\*_T1w; see `--level`'
    """
    words = text.replace("*", r"\*").replace("<", "&lt;").split(" ")
    return " ".join(_as_code(word) if word.startswith("--") else word for word in words)


def _as_code(word: str) -> str:
    name = word.rstrip(".,;:)")
    return f"`{name}`{word[len(name) :]}"


def _fill(app: Any, page: str, source: list[str]) -> None:
    if page == PAGE:
        source[0] = source[0].replace(PLACE, describe_parser(build_parser()))


def setup(app: Any) -> dict[str, bool]:
    """Let the page be filled when Sphinx reads it."""
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
