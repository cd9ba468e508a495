"""Render the scene of ``tracts`` with VTK; run as a program so that a crash stays here."""

import sys
from pathlib import Path

import numpy as np
import pyvista as pv
from jaxtyping import Bool, Float, Int
from PIL import Image
from scipy.ndimage import gaussian_filter

from shd_bids.reports.figures.views import VIEWS, direction_hue, shade_by_depth

_VIEW_PIXELS = 1200


def render_scene(scene_file: Path, picture_file: Path) -> None:
    """Draw the views of a scene beside each other.

    Parameters
    ----------
    scene_file
        ``.npz`` with ``points``, ``lengths`` and ``colors`` of the streamlines, by direction if
        there are no colours, ``mask`` and ``affine``.
    picture_file
        ``.png`` to write, as many squares wide as there are views.
    """
    with np.load(scene_file) as scene:
        points, lengths, colors = scene["points"], scene["lengths"], scene["colors"]
        glass = brain_surface(scene["mask"], scene["affine"])
    plotter = pv.Plotter(off_screen=True, window_size=[_VIEW_PIXELS, _VIEW_PIXELS])
    plotter.background_color = pv.Color("black")
    plotter.camera.parallel_projection = True
    lines = line_mesh(points, lengths)
    hue = np.repeat(colors, lengths, axis=0) if len(colors) else line_colors(points, lengths)
    if len(points):
        lines["rgb"] = (255 * hue).astype(np.uint8)
        plotter.add_mesh(lines, scalars="rgb", rgb=True, line_width=1.5, lighting=False)
    plotter.add_mesh(glass, color="white", opacity=0.07, smooth_shading=True, specular=0.4)
    centre = np.array(glass.center)
    pictures: list[np.ndarray] = []
    for view in VIEWS:
        toward, up = np.array(view.toward), np.array(view.up)
        if len(points):
            lines["rgb"] = (255 * hue * shade_by_depth(points @ toward)[:, None]).astype(np.uint8)
        plotter.camera_position = [centre + 1000 * toward, centre, up]
        extent = view.page[:2] @ (glass.points - centre).T
        plotter.camera.parallel_scale = 1.06 * float(np.abs(extent).max())
        plotter.reset_camera_clipping_range()
        plotter.render()
        pictures.append(np.asarray(plotter.screenshot(None, return_img=True)))
    plotter.close()
    Image.fromarray(np.concatenate(pictures, axis=1)).save(picture_file)


def brain_surface(mask: Bool[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"]) -> pv.PolyData:
    """Give the smooth surface of a mask in RAS millimetres."""
    padded = np.pad(mask.astype(np.float32), 2)
    grid = pv.ImageData(dimensions=padded.shape)
    grid["inside"] = gaussian_filter(padded, 1.0).ravel(order="F")
    surface = grid.contour([0.5], scalars="inside").smooth_taubin(n_iter=30)
    surface.points = (surface.points - 2) @ affine[:3, :3].T + affine[:3, 3]
    surface.clear_data()
    return surface.compute_normals(auto_orient_normals=True)


def line_mesh(
    points: Float[np.ndarray, "point 3"], lengths: Int[np.ndarray, " line"]
) -> pv.PolyData:
    """Join consecutive points to polylines of the given lengths."""
    mesh = pv.PolyData()
    if len(points):
        ends = np.cumsum(lengths)
        mesh.points = points
        mesh.lines = np.concatenate(
            [np.r_[length, end - length : end] for length, end in zip(lengths, ends, strict=True)]
        )
    return mesh


def line_colors(
    points: Float[np.ndarray, "point 3"], lengths: Int[np.ndarray, " line"]
) -> Float[np.ndarray, "point 3"]:
    """Give each point the colour of its line's direction there."""
    step = np.diff(points, axis=0, append=points[-1:])
    last = np.cumsum(lengths) - 1
    step[last] = step[last - 1]  # the last point of a line looks back
    return direction_hue(step)


if __name__ == "__main__":
    render_scene(Path(sys.argv[1]), Path(sys.argv[2]))
