"""Tracts in three dimensions: seen from the left, from the front and from above.

The scene is rendered off screen by VTK in a process of its own, because a graphics library that
finds no usable driver ends its process. When that happens the same views are drawn flat.
"""

import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image

from shd_bids.reports.figures.images import direction_legend
from shd_bids.reports.figures.panels import view_panels
from shd_bids.reports.figures.style import save_figure
from shd_bids.reports.figures.views import VIEWS, View, direction_hue, shade_by_depth
from shd_bids.tractography.streamlines import Streamlines

LOGGER = logging.getLogger(__name__)

_TIMEOUT_S = 600


def plot_tracts(
    streamlines: Streamlines,
    mask: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    out_file: Path,
) -> Path:
    """Draw streamlines inside a glass brain, coloured by direction, in three views.

    Parameters
    ----------
    streamlines
        All of them are drawn; ten thousand fill the brain.
    mask
        Of the brain; its surface is the glass.
    affine
        Voxel to RAS millimetres.
    out_file
        ``.png``.

    Returns
    -------
    Path
        ``out_file``.
    """
    shown = thin_out(streamlines, 1.5)
    figure = draw_in_glass(shown, mask, affine)
    direction_legend(figure)
    return save_figure(figure, out_file, dpi=140, n_color=256)


def draw_in_glass(
    streamlines: Streamlines,
    mask: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    *,
    colors: Float[np.ndarray, "streamline 3"] | None = None,
) -> Figure:
    """Draw streamlines inside a glass brain in three views, with room for a legend at the foot.

    Parameters
    ----------
    streamlines
        Points in RAS millimetres, each of two points or more.
    mask
        Of the brain; its surface is the glass.
    affine
        Voxel to RAS millimetres.
    colors
        Red, green, blue of each streamline, 0 to 1; by direction if not given.

    Returns
    -------
    Figure
        To be saved.
    """
    with tempfile.TemporaryDirectory() as folder:
        scene_file, picture_file = Path(folder) / "scene.npz", Path(folder) / "scene.png"
        np.savez(
            scene_file, points=streamlines.points, lengths=streamlines.n_points, mask=mask,
            affine=affine, colors=np.zeros((0, 3)) if colors is None else colors,
        )  # fmt: skip
        problem = _render_apart(scene_file, picture_file)
        pictures: list[np.ndarray] = []
        if problem:
            LOGGER.warning("Tracts are drawn flat, because VTK could not render: %s", problem)
        else:
            picture = np.asarray(Image.open(picture_file).convert("RGB"))
            pictures = np.split(picture, len(VIEWS), axis=1)
    figure, panels = view_panels()
    for order, (axes, view) in enumerate(zip(panels, VIEWS, strict=True)):
        if pictures:
            axes.imshow(pictures[order], aspect="equal", interpolation="antialiased")
        else:
            _draw_flat(axes, streamlines, colors, mask, affine, view)
        axes.set_title(view.name, color="white", fontsize=11)
    return figure


def thin_out(streamlines: Streamlines, spacing_mm: float) -> Streamlines:
    """Keep points about so far apart, and both ends, of streamlines that are more than a point."""
    thinned = []
    for line in streamlines.where(streamlines.n_points > 1):
        step_mm = float(np.linalg.norm(line[1] - line[0]))
        stride = max(1, round(spacing_mm / step_mm)) if step_mm > 0 else 1
        kept = np.unique(np.append(np.arange(0, len(line), stride), len(line) - 1))
        thinned.append(line[kept])
    return Streamlines.of(thinned)


def _render_apart(scene_file: Path, picture_file: Path) -> str:
    """Render in a child process; return what went wrong, or nothing."""
    command = [sys.executable, "-m", "shd_bids.reports.figures.scene"]
    command += [str(scene_file), str(picture_file)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0 and picture_file.exists():
        return ""
    last_line = done.stderr.strip().splitlines()[-1:] or ["no message"]
    return f"exit code {done.returncode}, {last_line[0]}"


def _draw_flat(
    axes: Axes,
    streamlines: Streamlines,
    colors: Float[np.ndarray, "streamline 3"] | None,
    mask: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    view: View,
) -> None:
    """Project the segments on the page, nearer ones over farther ones."""
    if len(streamlines):
        segments = np.concatenate(
            [np.stack([line[:-1], line[1:]], axis=1) for line in streamlines]
        )  # (segment, end, axis)
        if colors is None:
            hue = direction_hue(segments[:, 1] - segments[:, 0])
        else:
            hue = np.repeat(colors, streamlines.n_points - 1, axis=0)
        turned = segments @ view.page.T
        depth = turned[:, :, 2].mean(axis=1)
        order = np.argsort(depth)
        shaded = (hue * shade_by_depth(depth)[:, None])[order]
        axes.add_collection(
            LineCollection(list(turned[order, :, :2]), colors=shaded, linewidths=0.4)
        )
    brain = np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3]
    ends = brain @ view.page.T if len(brain) else np.zeros((1, 3))
    low, high = ends.min(axis=0)[:2] - 8, ends.max(axis=0)[:2] + 8
    reach = float((high - low).max()) / 2
    middle = (high + low) / 2
    axes.set(
        xlim=(middle[0] - reach, middle[0] + reach), ylim=(middle[1] - reach, middle[1] + reach)
    )
    axes.set_aspect("equal", adjustable="box")
