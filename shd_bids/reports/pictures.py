"""A figure file as a piece of the page: described, sized, and to be enlarged.

Pictures are ``<img>``, since viewers with a strict policy show no ``<object>``. A link lays the
picture over the page at full size by ``:target``, which needs no script; where scripts run,
``data/report.js`` makes of it a dialog to zoom in.
"""

import re
from html import escape
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from .figures.flicker import SECOND, is_flicker

# What nireports makes of a figure file.
_SNIPPET = re.compile(
    r'<div class="reportlet">\s*<(?:img|object) class="\w+-reportlet"[^>]*?'
    r' (?:src|data)="\./(?P<href>[^"]+)"'
)
_STATES = (
    ("before", "before", " checked"),
    ("after", "after", ""),
    ("turns", "both in turn", ""),
)


def picture_href(content: str) -> str | None:
    """Find the figure file in what nireports makes of it; ``None`` for a fragment."""
    found = _SNIPPET.match(content)
    return found["href"] if found else None


def picture(
    href: str,
    *,
    root: Path,
    anchor: str,
    title: str,
    alt: str,
    described_by: str = "",
    max_width: str = "100%",
) -> str:
    """Write a figure with its link to the full size and to its file.

    Parameters
    ----------
    href
        Of the file, relative to the page.
    root
        Folder of the page.
    anchor
        Of the reportlet; no other picture has it.
    title
        A few words.
    alt
        For readers who do not see the picture.
    described_by
        Identifier of the paragraph that says how to read the picture; empty for none.
    max_width
        In the flow of the page, as in CSS.

    Returns
    -------
    str
        A ``<figure>``.
    """
    file = root / href
    shared = f'{_size(file)} aria-describedby="{described_by}"' if described_by else _size(file)
    source, name = escape(href), escape(Path(href).name)
    states = ""
    images = f'<img src="{source}" alt="{escape(alt)}"{shared}/>'
    if is_flicker(file):
        states = _states(anchor)
        images = (
            f'<img src="{source}" alt="{escape(alt)} Before."{shared}/>\n'
            f'<img class="after" src="{source}#{SECOND}" alt="{escape(alt)} After."{shared}/>'
        )
    return (
        f'<figure class="picture" id="{anchor}-picture" style="max-width: {max_width}">\n'
        f"{states}"
        f'<div class="frame">\n{images}\n'
        f'<a class="enlarge" href="#{anchor}-picture" data-title="{escape(title)}" '
        f'aria-label="Enlarge: {escape(title)}"><span>Enlarge</span></a>\n</div>\n'
        f'<figcaption>Figure file: <a href="{source}">{name}</a>'
        f'<a class="close" href="#{anchor}">Close</a></figcaption>\n</figure>'
    )


def _states(anchor: str) -> str:
    choices = "\n".join(
        f'<label><input type="radio" class="state-{kind}" name="{anchor}-state"{chosen}/> '
        f"{name}</label>"
        for kind, name, chosen in _STATES
    )
    return f'<fieldset class="states"><legend>Show</legend>\n{choices}\n</fieldset>\n'


def _size(file: Path) -> str:
    """Give width and height as attributes, so that anchors hold still while pictures load."""
    size = None
    if file.suffix == ".svg" and file.is_file():
        with file.open(encoding="utf-8", errors="replace") as text:
            box = re.search(r'viewBox="[\d.-]+ [\d.-]+ ([\d.]+) ([\d.]+)"', text.read(4000))
        size = (float(box[1]), float(box[2])) if box else None
    elif file.suffix != ".svg":
        try:
            with Image.open(file) as image:
                size = (float(image.width), float(image.height))
        except (FileNotFoundError, UnidentifiedImageError):
            size = None
    return f' width="{size[0]:.0f}" height="{size[1]:.0f}"' if size else ""
