"""The methods text: citation keys become names and years, and a list of references.

The text is written by the stages as Markdown paragraphs with pandoc's citations (``[@key]``,
``[@one; @two]``). Only the few signs of Markdown that the stages use are understood, so that no
other program is needed.
"""

import re
from html import escape
from importlib.resources import files
from pathlib import Path

from shd_bids.bids.files import write_text
from shd_bids.reports.bibliography import Reference, read_bibliography

_GROUP = re.compile(r"\[(@[\w:.-]+(?:\s*;\s*@[\w:.-]+)*)\]")
_BARE = re.compile(r"(?<![\w\[;@])@([\w:.-]*\w)")


def bibliography() -> dict[str, Reference]:
    """Read the references that ship with the program, by citation key."""
    return read_bibliography(_bibliography_text())


def methods_fragment(text: str) -> str:
    """Give the methods as HTML to read, with the Markdown and the BibTeX to copy.

    Parameters
    ----------
    text
        Markdown with citation keys.

    Returns
    -------
    str
        HTML.
    """
    markdown, bibtex = markdown_text(text), bibtex_text(text)
    return (
        f'<div class="methods">\n{html_text(text)}\n</div>\n'
        f"<details><summary>Markdown to copy</summary><pre>{escape(markdown)}</pre></details>\n"
        f"<details><summary>References as BibTeX</summary><pre>{escape(bibtex)}</pre></details>"
    )


def write_citation(text: str, logs_dir: Path) -> None:
    """Write ``CITATION.md``, ``CITATION.html`` and ``CITATION.bib``.

    Parameters
    ----------
    text
        Markdown with citation keys.
    logs_dir
        Folder of the dataset's logs.
    """
    write_text(logs_dir / "CITATION.md", markdown_text(text))
    write_text(logs_dir / "CITATION.bib", bibtex_text(text))
    head = '<!DOCTYPE html>\n<html><head><meta charset="utf-8"/></head>'
    page = f"{head}\n<body>\n{html_text(text)}\n</body></html>\n"
    write_text(logs_dir / "CITATION.html", page)


def cited_keys(text: str) -> list[str]:
    """List the known citation keys of a text, in the order of their first use.

    Examples
    --------
    >>> cited_keys("Fibres [@shdtv; @csd] as in @shdtv.")
    ['shdtv', 'csd']
    """
    known = bibliography()
    found: dict[str, None] = {}
    for match in re.finditer(r"@([\w:.-]*\w)", text):
        if match.group(1) in known:
            found.setdefault(match.group(1))
    return list(found)


def markdown_text(text: str) -> str:
    """Write the citations of a text in full and its references below, as Markdown.

    Parameters
    ----------
    text
        Markdown with citation keys.

    Returns
    -------
    str
        Markdown without citation keys.
    """
    known = bibliography()
    keys = cited_keys(text)
    body = _cite(_tidy(text), known)
    if not keys:
        return f"{body}\n"
    references = "\n".join(f"- {known[key].markdown}" for key in _by_author(keys, known))
    return f"{body}\n\n### References\n\n{references}\n"


def html_text(text: str) -> str:
    """Write a text with its references as HTML.

    Parameters
    ----------
    text
        Markdown with citation keys.

    Returns
    -------
    str
        Headings, paragraphs and one list.
    """
    blocks = []
    for block in re.split(r"\n\s*\n", markdown_text(text).strip()):
        safe = _inline(escape(block.strip(), quote=False))
        heading = re.match(r"(#{1,6})\s+(.*)", safe)
        if heading:
            blocks.append(f"<h4>{heading.group(2)}</h4>")
        elif safe.startswith("- "):
            items = [f"<li>{line.removeprefix('- ')}</li>" for line in safe.splitlines()]
            blocks.append("\n".join(["<ul>", *items, "</ul>"]))
        else:
            blocks.append(f"<p>{safe}</p>")
    return "\n".join(blocks)


def bibtex_text(text: str) -> str:
    """Give the BibTeX entries that a text cites."""
    known = bibliography()
    return "\n\n".join(known[key].bibtex for key in cited_keys(text)) + "\n"


def _bibliography_text() -> str:
    return (files("shd_bids.data") / "boilerplate.bib").read_text(encoding="utf-8")


def _cite(text: str, known: dict[str, Reference]) -> str:
    def in_parentheses(match: re.Match[str]) -> str:
        keys = [key.strip().removeprefix("@") for key in match.group(1).split(";")]
        return "(" + "; ".join(known[key].short if key in known else key for key in keys) + ")"

    def in_sentence(match: re.Match[str]) -> str:
        key = match.group(1)
        return known[key].in_sentence if key in known else match.group(0)

    return _BARE.sub(in_sentence, _GROUP.sub(in_parentheses, text))


def _by_author(keys: list[str], known: dict[str, Reference]) -> list[str]:
    return sorted(keys, key=lambda key: (known[key].short.lower(), key))


def _tidy(text: str) -> str:
    """Undo the indentation that a docstring gives and join the lines of a paragraph."""
    blocks = [
        " ".join(line.strip() for line in block.strip().splitlines())
        for block in re.split(r"\n\s*\n", text.strip())
    ]
    return "\n\n".join(block for block in blocks if block)


def _inline(text: str) -> str:
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    text = re.sub(r"(?<![\w*])\*([^*\n]+?)\*(?![\w*])", r"<em>\1</em>", text)
    text = re.sub(r"`([^`\n]+?)`", r"<code>\1</code>", text)
    return re.sub(r"(https://[^\s<>]+[^\s<>.,])", r'<a href="\1">\1</a>', text)
