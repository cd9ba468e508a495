"""Two pages in one picture, of which the second shows when the pointer is over it.

The second also shows where the address of the picture ends in ``#after``: a page that embeds the
picture as an image, in which no pointer is felt, can show either.
"""

import base64
import io
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

SECOND = "after"  # fragment of the address that shows the second page
_MARK = ".after:target"
_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" \
viewBox="0 0 {width} {height}" preserveAspectRatio="xMidYMid meet">
<title>{title}</title>
<style>
.after {{ opacity: 0; }}
.after:target {{ opacity: 1; }}
svg:hover .after {{ animation: flicker 2s infinite step-end; }}
@keyframes flicker {{ 0% {{ opacity: 1; }} 50% {{ opacity: 0; }} 100% {{ opacity: 1; }} }}
</style>
<image width="{width}" height="{height}" xlink:href="data:image/webp;base64,{before}"/>
<image class="after" id="{second}" width="{width}" height="{height}" \
xlink:href="data:image/webp;base64,{after}"/>
</svg>
"""


def write_flicker(before: Figure, after: Figure, out_file: Path, *, title: str) -> Path:
    """Write two pages of one size as a picture that flickers between them.

    Parameters
    ----------
    before, after
        Shown at rest, and in turn with it under the pointer.
    out_file
        ``.svg``.
    title
        Of the picture, for readers who do not see it.

    Returns
    -------
    Path
        ``out_file``.
    """
    first, (width, height) = _encode(before)
    second, _ = _encode(after)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    out_file.write_text(
        _SVG.format(
            width=width, height=height, title=title, second=SECOND, before=first, after=second
        ),
        encoding="utf-8",
    )
    return out_file


def is_flicker(file: Path) -> bool:
    """Tell whether a figure holds two pages that an address can choose from."""
    if file.suffix != ".svg" or not file.is_file():
        return False
    with file.open(encoding="utf-8", errors="replace") as text:
        return _MARK in text.read(1000)


def _encode(figure: Figure) -> tuple[str, tuple[int, int]]:
    """Encode a page; lossy at a quality where noise stays noise."""
    page, small = io.BytesIO(), io.BytesIO()
    figure.savefig(page, format="png", dpi=100, facecolor=figure.get_facecolor())
    image = Image.open(page).convert("RGB")
    image.save(small, format="webp", quality=85, method=4)
    return base64.b64encode(small.getvalue()).decode("ascii"), image.size
