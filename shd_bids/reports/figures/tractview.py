"""Tracts to be turned by hand: data for ``data/viewer.js``, which draws them in the page.

A fragment holds no program, only numbers: the page brings the program once, whatever the number of
views, so that a strict content security policy can name it. Points are 16-bit integers about the
middle of the brain, a hundredth of a millimetre each.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from shd_bids.reports.figures.bundles import bundle_colors
from shd_bids.reports.figures.glass import Mesh, glass_brain
from shd_bids.reports.figures.tracts import thin_out
from shd_bids.tractography.streamlines import Streamlines

_SPACING_MM = 2.5
_N_MOST_POINT = 150_000  # 900 kB, and 1.2 MB in the page's letters
_STEP_MM = 0.01
_ALL_LINES = "All streamlines, by direction"
_HELP = (
    "Drag to turn, with Shift or the right button to move; two fingers zoom. In the view (click "
    "it, or reach it with Tab): wheel or + and - zoom, arrow keys turn, with Shift they move, 0 "
    "resets."
)
_WITHOUT = (
    "Here the streamlines can be turned by hand where the page may run its script and the browser "
    "offers WebGL. That is not so at present; the pictures show the same streamlines."
)


@dataclass(frozen=True)
class Group:
    """Streamlines that are shown or hidden together.

    Attributes
    ----------
    name
        Of the bundle.
    lines
        RAS mm.
    color
        Red, green, blue from 0 to 1; by direction if not given.
    """

    name: str
    lines: Streamlines
    color: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class TractView:
    """Streamlines and the brain's surface in whole numbers of steps.

    Attributes
    ----------
    groups
        Name, colour and number of streamlines of each.
    n_points
        Of each streamline, group after group.
    points, corners
        In steps from the middle.
    triangles, normals
        Of the surface; normals in 127ths.
    middle_mm
        RAS.
    half_mm
        From the middle to the brain's sides.
    step_mm
        Of the whole numbers.
    """

    groups: list[dict[str, Any]]
    n_points: Int[np.ndarray, " line"]
    points: Int[np.ndarray, "point 3"]
    corners: Int[np.ndarray, "corner 3"]
    triangles: Int[np.ndarray, "triangle 3"]
    normals: Int[np.ndarray, "corner 3"]
    middle_mm: Float[np.ndarray, " 3"]
    half_mm: Float[np.ndarray, " 3"]
    step_mm: float = field(default=_STEP_MM)


def tract_view(
    streamlines: Streamlines,
    bundles: Mapping[str, Streamlines],
    mask: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
) -> TractView:
    """Thin streamlines out and bring them, with the brain's surface, to small whole numbers.

    Parameters
    ----------
    streamlines
        Of the whole tractogram, RAS mm; the last are left out where they are too many points.
    bundles
        By name; perhaps none.
    mask
        Of the brain.
    affine
        Voxel to RAS millimetres.

    Returns
    -------
    TractView
        To be written by `view_fragment`.
    """
    palette = bundle_colors(bundles)
    groups = [Group(_ALL_LINES, streamlines)]
    groups += [Group(name, lines, palette[name]) for name, lines in bundles.items()]
    share = _N_MOST_POINT // (1 + bool(bundles))
    limits = [share, *[share // max(len(bundles), 1)] * len(bundles)]
    shown = [_up_to(thin_out(g.lines, _SPACING_MM), n) for g, n in zip(groups, limits, strict=True)]
    lines, glass = Streamlines.join(shown), glass_brain(mask, affine)
    box = glass.corners if len(glass.corners) else lines.points.astype(float)
    low, high = (box.min(axis=0), box.max(axis=0)) if len(box) else (-np.ones(3), np.ones(3))
    middle = np.round((low + high) / 2)
    reach = max(np.abs(each - middle).max(initial=0) for each in (lines.points, glass.corners))
    step_mm = max(_STEP_MM, float(reach) / 32767)
    return TractView(
        [
            {"name": group.name, "color": group.color, "n_line": len(part)}
            for group, part in zip(groups, shown, strict=True)
        ],
        lines.n_points,
        _steps(lines.points, middle, step_mm),
        *_surface(glass, middle, step_mm),
        middle_mm=middle,
        half_mm=(high - low) / 2,
        step_mm=step_mm,
    )


def view_fragment(view: TractView) -> str:
    """Write a view as HTML without a program: elements to fill, and the data.

    Parameters
    ----------
    view
        Of one series.

    Returns
    -------
    str
        A ``<div class="tract-view">``.
    """
    head = {
        "step_mm": view.step_mm,
        "middle": view.middle_mm.tolist(),
        "half": np.round(view.half_mm, 2).tolist(),
        "n_line": len(view.n_points),
        "n_point": len(view.points),
        "n_corner": len(view.corners),
        "n_triangle": len(view.triangles),
        "groups": [{**each, "color": _rounded(each["color"])} for each in view.groups],
    }
    parts = (
        (view.n_points, "<u2"), (view.points, "<i2"), (view.corners, "<i2"),
        (view.triangles, "<u2"), (view.normals, "i1"),
    )  # fmt: skip
    data = b"".join(np.ascontiguousarray(values).astype(kind).tobytes() for values, kind in parts)
    title = "Streamlines in three dimensions inside the surface of the brain"
    names = json.dumps(head, separators=(",", ":")).replace("<", "\\u003c")  # ends no element
    return (
        '<div class="tract-view">\n'
        f'<p class="tract-view-without">{escape(_WITHOUT)}</p>\n'
        '<div class="tract-view-stage" hidden>\n'
        f'<div class="tract-view-bar" role="group" aria-label="Standard views"></div>\n'
        '<div class="tract-view-frame"><canvas tabindex="0" role="application" '
        f'aria-label="{escape(title)}. {escape(_HELP)}"></canvas></div>\n'
        '<fieldset class="tract-view-groups"><legend>Shown</legend></fieldset>\n'
        f'<p class="description">{escape(_HELP)}</p>\n'
        "</div>\n"
        f'<script type="application/json" class="tract-view-head">{names}</script>\n'
        '<script type="text/plain" class="tract-view-data">'
        f"{base64.b64encode(data).decode('ascii')}</script>\n"
        "</div>\n"
    )


def _up_to(lines: Streamlines, n_point: int) -> Streamlines:
    """Keep the first streamlines, as many as have so many points."""
    return lines.where(np.cumsum(lines.n_points) <= n_point)


def _steps(
    places_mm: Float[np.ndarray, "point 3"], middle_mm: Float[np.ndarray, " 3"], step_mm: float
) -> Int[np.ndarray, "point 3"]:
    return np.rint((places_mm.astype(float) - middle_mm) / step_mm).astype(np.int64)


def _surface(
    glass: Mesh, middle_mm: Float[np.ndarray, " 3"], step_mm: float
) -> tuple[Int[np.ndarray, "corner 3"], Int[np.ndarray, "triangle 3"], Int[np.ndarray, "corner 3"]]:
    corners = _steps(glass.corners, middle_mm, step_mm)
    return corners, glass.triangles, np.rint(127 * glass.normals).astype(np.int64)


def _rounded(color: Sequence[float] | None) -> list[float] | None:
    return None if color is None else [round(float(part), 3) for part in color]
