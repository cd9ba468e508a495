"""The frame of the study's page: contents, style, script, and what the page may do."""

from collections.abc import Mapping
from html import escape

from shd_bids import __version__
from shd_bids.reports.stylesheet import content_hash, data_text, page_style


def write_frame(title: str, sections: Mapping[str, str], style: str) -> str:
    """Put sections together as the participant's page does; empty ones are left out.

    Parameters
    ----------
    title
        Plain text.
    sections
        HTML by name.
    style
        Rules beside those of all pages.

    Returns
    -------
    str
        The page. Its policy allows the script and the style that are in it, and nothing else.
    """
    style = "\n" + page_style() + data_text("study.css") + style
    script = "\n" + data_text("study.js")
    policy = (
        f"default-src 'none'; style-src '{content_hash(style)}'; script-src "
        f"'{content_hash(script)}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    given = {name: html for name, html in sections.items() if html}
    links = "\n".join(f'<li><a href="#{_anchor(name)}">{name}</a></li>' for name in given)
    body = "\n".join(
        f'<section id="{_anchor(name)}" aria-labelledby="{_anchor(name)}-title">\n'
        f'<h2 id="{_anchor(name)}-title">{name}</h2>\n{html}\n</section>'
        for name, html in given.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta http-equiv="Content-Security-Policy" content="{policy}"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="generator" content="shd-bids {escape(__version__)}"/>
<title>{escape(title)}</title>
<link rel="icon" href="data:,"/>
<style>{style}</style>
</head>
<body>
<nav class="contents" aria-label="Contents">
<strong>{escape(title)}</strong>
<ul>
{links}
</ul>
</nav>
<main>
<h1>{escape(title)}</h1>
{body}
</main>
<script>{script}</script>
</body>
</html>
"""


def _anchor(name: str) -> str:
    return name.replace(" ", "-")


def scroll_box(table: str) -> str:
    """Give a table a box of its own to be scrolled in, where a window is narrow."""
    return f'<div class="scroll">{table}</div>'
