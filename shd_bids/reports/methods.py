"""The methods text: citation keys become names and years, and a list of references.

The text is written by the stages as Markdown paragraphs with pandoc's citations (``[@key]``,
``[@one; @two]``). Only the few signs of Markdown that the stages use are understood, so that no
other program is needed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from importlib.resources import files
from pathlib import Path
from string import ascii_lowercase

from shd_bids.bids.files import write_text
from shd_bids.reports.bibliography import Reference, read_bibliography

_GROUP = re.compile(r"\[(@[\w:.-]+(?:\s*;\s*@[\w:.-]+)*)\]")
_BARE = re.compile(r"(?<![\w\[;@])@([\w:.-]*\w)")
_TITLE = "Methods and works to cite"
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>shd-bids: {title}</title>
<link rel="icon" href="data:,"/>
<style>
body {{ max-width: 46rem; margin: 2rem auto; padding: 0 1.2rem; color: #1f2933; background: #fff;
  line-height: 1.55; font-family: system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }}
h1 {{ font-size: 1.6rem; }}
h2 {{ font-size: 1.2rem; margin-top: 1.8rem; }}
a {{ color: #0b7285; }}
li {{ margin-bottom: 0.5rem; overflow-wrap: anywhere; }}
li:target {{ background: #fff4d6; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>The same as <a href="CITATION.md">Markdown</a>; the works as
<a href="CITATION.bib">BibTeX</a>.</p>
{body}
</main>
</body>
</html>
"""


def bibliography() -> dict[str, Reference]:
    """Read the references that ship with the program, by citation key."""
    return read_bibliography(_bibliography_text())


def methods_fragment(text: str, folder: str = "logs") -> str:
    """Give the methods as HTML to read, with the Markdown and the BibTeX to copy.

    Parameters
    ----------
    text
        Markdown with citation keys.
    folder
        That holds ``CITATION.*`` for all participants, beside the page.

    Returns
    -------
    str
        HTML; a click into what is to be copied selects all of it.
    """
    folds = {"Markdown to copy": markdown_text(text), "References as BibTeX": bibtex_text(text)}
    return "\n".join(
        [
            f'<div class="methods">\n{html_text(text)}\n</div>',
            *(
                f"<details><summary>{title}</summary>"
                f'<pre class="copy">{escape(content)}</pre></details>'
                for title, content in folds.items()
            ),
            "<p>For all participants: "
            f'<a href="{folder}/CITATION.html">{folder}/CITATION.html</a>, '
            f'<a href="{folder}/CITATION.md">.md</a> and '
            f'<a href="{folder}/CITATION.bib">.bib</a>.</p>',
        ]
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
    write_text(logs_dir / "CITATION.md", f"# {_TITLE}\n\n{markdown_text(text)}")
    write_text(logs_dir / "CITATION.bib", bibtex_text(text))
    write_text(logs_dir / "CITATION.html", _PAGE.format(title=_TITLE, body=html_text(text, 2)))


def join_words(words: Sequence[str]) -> str:
    """Join words as a sentence does.

    Examples
    --------
    >>> join_words(["WM"]), join_words(["WM", "GM"]), join_words(["WM", "GM", "CSF"])
    ('WM', 'WM and GM', 'WM, GM and CSF')
    """
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


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
    works = _told_apart(cited_keys(text))
    body = _cite(_tidy(text), works)
    if not works:
        return f"{body}\n"
    references = "\n".join(f"- {work.markdown}" for work in works.values())
    return f"{body}\n\n### References\n\n{references}\n"


def html_text(text: str, level: int = 4) -> str:
    """Write a text with its references as HTML; each citation leads to its reference.

    Parameters
    ----------
    text
        Markdown with citation keys.
    level
        Of the headings.

    Returns
    -------
    str
        Headings, paragraphs and one list.
    """
    works = _told_apart(cited_keys(text))
    blocks = []
    for block in re.split(r"\n\s*\n", _cite(_tidy(text), works, linked=True).strip()):
        safe = _inline(escape(block.strip()))
        heading = re.match(r"(#{1,6})\s+(.*)", safe)
        if heading:
            blocks.append(f"<h{level}>{heading.group(2)}</h{level}>")
        else:
            blocks.append(f"<p>{safe}</p>")
    if works:
        items = (
            f'<li id="ref-{key}">{_inline(escape(work.markdown))}</li>'
            for key, work in works.items()
        )
        blocks += [f"<h{level}>References</h{level}>", "<ul>", *items, "</ul>"]
    return "\n".join(blocks)


def bibtex_text(text: str) -> str:
    """Give the BibTeX entries that a text cites."""
    known = bibliography()
    return "\n\n".join(known[key].bibtex for key in cited_keys(text)) + "\n"


def _bibliography_text() -> str:
    return (files("shd_bids.data") / "boilerplate.bib").read_text(encoding="utf-8")


def _told_apart(keys: Sequence[str]) -> dict[str, Reference]:
    """Order works by authors and year; letters tell apart what would be cited alike."""
    known = bibliography()
    alike: dict[str, list[str]] = {}
    for key in keys:
        alike.setdefault(known[key].short, []).append(key)
    works = {}
    for same in alike.values():
        by_title = sorted(same, key=lambda key: known[key].fields.get("title", "").lower())
        for letter, key in zip(ascii_lowercase, by_title, strict=False):
            work = known[key]
            year = f"{work.fields.get('year', 'n.d.')}{letter if len(same) > 1 else ''}"
            works[key] = replace(work, fields={**work.fields, "year": year})
    return dict(sorted(works.items(), key=lambda item: (item[1].short.lower(), item[0])))


def _cite(text: str, works: Mapping[str, Reference], *, linked: bool = False) -> str:
    """Write authors and years for citation keys, as Markdown links where they are wanted."""

    def link(key: str, words: str) -> str:
        return f"[{words}](#ref-{key})" if linked else words

    def in_parentheses(match: re.Match[str]) -> str:
        keys = [key.strip().removeprefix("@") for key in match.group(1).split(";")]
        named = (link(key, works[key].short) if key in works else key for key in keys)
        return f"({'; '.join(named)})"

    def in_sentence(match: re.Match[str]) -> str:
        key = match.group(1)
        return link(key, works[key].in_sentence) if key in works else match.group(0)

    return _BARE.sub(in_sentence, _GROUP.sub(in_parentheses, text))


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
    text = re.sub(r"\[([^\]]+)\]\(#(ref-[\w:.-]+)\)", r'<a href="#\2">\1</a>', text)
    return re.sub(r"(https://[^\s<>]+[^\s<>.,])", r'<a href="\1">\1</a>', text)
