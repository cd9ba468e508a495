"""Colours, names and the way a page is saved: one look for all figures."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

DARK = "black"
INK = "#1f2933"
FAINT = "#9aa5b1"
TISSUE_COLORS = {"WM": "#d9480f", "GM": "#2b8a3e", "CSF": "#1971c2"}
TISSUE_NAMES = {"WM": "white matter", "GM": "grey matter", "CSF": "CSF"}
SERIES_COLORS = ("#1971c2", "#d9480f", "#2b8a3e", "#862e9c", "#e67700", "#0b7285", "#a61e4d")
MODEL_NAMES = {
    "shdtv": "SHD-TV",
    "shd": "SHD",
    "esd": "ESD",
    "rtesd": "RT-ESD",
    "csd": "CSD",
    "msmtcsd": "MSMT-CSD",
    "rumba": "RUMBA-SD",
    "rumbatv": "RUMBA-SD + TV",
}


def model_name(label: str) -> str:
    """Write a model as its authors do; an unknown label stays as it is.

    Examples
    --------
    >>> model_name("shdtv"), model_name("mine")
    ('SHD-TV', 'mine')
    """
    return MODEL_NAMES.get(label, label)


def shell_label(bval: float) -> str:
    """Name a shell.

    Examples
    --------
    >>> shell_label(0.0), shell_label(1000.0)
    ('b = 0', 'b = 1000')
    """
    return f"b = {bval:.0f}"


def shell_color(shell: int) -> str:
    """Colour of a shell; b=0 is grey."""
    return FAINT if shell == 0 else SERIES_COLORS[(shell - 1) % len(SERIES_COLORS)]


def tidy_chart(axes: Axes, *, title: str = "") -> None:
    """Give a chart light lines, readable labels and a left-aligned title."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(visible=True, color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.label.set(color=INK, fontsize=10)
    axes.yaxis.label.set(color=INK, fontsize=10)
    if title:
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)


def save_figure(
    figure: Figure, out_file: Path, *, dpi: int = 110, n_color: int | None = None
) -> Path:
    """Write a page in the format that its extension names, over its own background.

    Parameters
    ----------
    figure
        The page.
    out_file
        ``.svg`` or ``.png``; its folder is made if need be.
    dpi
        Of a PNG, and of the images inside an SVG.
    n_color
        Of a PNG: at most so many, up to 256, which makes a picture of many small edges several
        times smaller; ``None`` keeps all.

    Returns
    -------
    Path
        ``out_file``.
    """
    out_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(
        out_file,
        dpi=dpi,
        facecolor=figure.get_facecolor(),
        metadata={"Date": None} if out_file.suffix == ".svg" else None,
    )
    if n_color is not None and out_file.suffix == ".png":
        with Image.open(out_file) as image:
            few = image.convert("RGB").quantize(n_color, dither=Image.Dither.NONE)
        few.save(out_file, optimize=True)
    return out_file
