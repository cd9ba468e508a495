"""Citations of the methods page, from the references that the program itself cites."""

import re
from typing import Any

from sphinx.util import logging

from shd_bids.reports.methods import bibliography, cited_keys

LOGGER = logging.getLogger(__name__)
PAGE = "methods"
PLACE = "<!-- the references -->"
_CITATION = re.compile(r"\[(@[\w:.-]+(?:\s*;\s*@[\w:.-]+)*)\]")


def cite(text: str) -> tuple[str, list[str]]:
    """Write authors and years for citation keys, each a link to the work, and list the works.

    Parentheses are the text's own.

    Parameters
    ----------
    text
        Markdown with pandoc's citations.

    Returns
    -------
    str
        Markdown without them.
    list
        Keys that no reference has.
    """
    known = bibliography()
    unknown: list[str] = []

    def write(match: re.Match[str]) -> str:
        words = []
        for key in re.findall(r"@([\w:.-]+)", match.group(1)):
            if key not in known:
                unknown.append(key)
                continue
            fields = known[key].fields
            url = f"https://doi.org/{fields['doi']}" if "doi" in fields else fields.get("url")
            words.append(f"[{known[key].short}]({url})" if url else known[key].short)
        return "; ".join(words)

    works = sorted((known[key] for key in cited_keys(text)), key=lambda work: work.short)
    listed = "\n".join(f"- {work.markdown}" for work in works)
    return _CITATION.sub(write, text).replace(PLACE, listed), unknown


def _fill(app: Any, page: str, source: list[str]) -> None:
    if page == PAGE:
        source[0], unknown = cite(source[0])
        for key in unknown:
            LOGGER.warning("no reference has the key %s", key, location=page)


def setup(app: Any) -> dict[str, bool]:
    """Let the page be filled when Sphinx reads it."""
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
