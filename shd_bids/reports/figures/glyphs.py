"""Fibre orientation distributions as shaded surfaces, drawn by the painter's algorithm."""

from functools import lru_cache

import numpy as np
from dipy.core.sphere import unit_icosahedron
from dipy.reconst.shm import order_from_ncoef, real_sh_tournier
from jaxtyping import Float, Int
from matplotlib.collections import PolyCollection

from shd_bids.reports.figures.anatomy import PLANE_AXES

_AMBIENT = 0.42  # light that reaches a face seen edge on


@lru_cache(maxsize=4)
def _sphere(subdivisions: int) -> tuple[np.ndarray, np.ndarray]:
    sphere = unit_icosahedron.subdivide(n=subdivisions)
    vertices = np.asarray(sphere.vertices, dtype=float)
    faces = np.asarray(sphere.faces, dtype=int)
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inward = np.einsum("fd,fd->f", normal, corners.mean(axis=1)) < 0
    faces[inward] = faces[inward][:, ::-1]
    return vertices, faces


def sphere_faces(
    subdivisions: int = 3,
) -> tuple[Float[np.ndarray, "vertex 3"], Int[np.ndarray, "face 3"]]:
    """Give an icosahedral sphere whose faces all look outwards (3: 642 vertices, 1280 faces)."""
    vertices, faces = _sphere(subdivisions)
    return vertices.copy(), faces.copy()


def sample_fodf(
    fodf_sh: Float[np.ndarray, "voxel coef"], directions: Float[np.ndarray, "vertex 3"]
) -> Float[np.ndarray, "voxel vertex"]:
    """Evaluate fODFs (MRtrix3 basis) at unit vectors; what is negative becomes zero.

    Examples
    --------
    >>> sample_fodf(np.array([[np.sqrt(4 * np.pi)]]), np.array([[0.0, 0.0, 1.0]])).round(6)
    array([[1.]])
    """
    order = int(order_from_ncoef(fodf_sh.shape[1]))
    polar = np.arccos(np.clip(directions[:, 2], -1, 1))
    azimuth = np.arctan2(directions[:, 1], directions[:, 0])
    basis, _, _ = real_sh_tournier(order, polar, azimuth, legacy=False)
    return np.clip(fodf_sh @ basis.T, 0.0, None)


def draw_order(affine: Float[np.ndarray, "4 4"], plane: str) -> Float[np.ndarray, "3 3"]:
    """Rotation from scanner axes to the page: right, up, towards the reader.

    The rotation of the image is taken out, so that a fibre along a column of voxels runs along
    that column on the page even when the image is oblique.
    """
    left, _, right = np.linalg.svd(affine[:3, :3])
    axes = (left @ right).T  # rows: voxel axes in scanner coordinates
    horizontal, vertical, _ = PLANE_AXES[plane]
    return np.stack([axes[horizontal], axes[vertical], np.cross(axes[horizontal], axes[vertical])])


def glyph_polygons(
    fodf_sh: Float[np.ndarray, "voxel coef"],
    centres: Float[np.ndarray, "voxel 2"],
    to_page: Float[np.ndarray, "3 3"],
    *,
    scale: float,
    subdivisions: int = 3,
) -> PolyCollection:
    """Make the surfaces of many fODFs, nearer faces over farther ones.

    Parameters
    ----------
    fodf_sh
        MRtrix3 basis, scanner axes.
    centres
        On the page.
    to_page
        As given by `draw_order`.
    scale
        Length on the page of the amplitude 1.
    subdivisions
        Of the icosahedron.

    Returns
    -------
    PolyCollection
        Coloured by direction (red left-right, green front-back, blue up-down), lit from the
        reader's side.
    """
    vertices, faces = sphere_faces(subdivisions)
    length = scale * sample_fodf(fodf_sh, vertices).astype(np.float32)
    points = length[..., None] * (vertices @ to_page.T).astype(np.float32)  # (voxel, vertex, page)
    corners = points[:, faces]  # (voxel, face, corner, page)
    normal = np.cross(
        corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
    )
    area = np.linalg.norm(normal, axis=-1)
    facing = normal[..., 2] / np.maximum(area, 1e-12)
    seen = (
        (facing > 0)
        & (area > 1e-5 * scale**2 * 1e-3)
        & (length[:, faces].max(axis=-1) > 0.02 * length.max())
    )
    voxel, face = np.nonzero(seen)
    depth = corners[voxel, face, :, 2].mean(axis=-1)
    order = np.argsort(depth, kind="stable")
    voxel, face = voxel[order], face[order]
    hue = np.abs(vertices[faces].mean(axis=1))
    hue /= hue.max(axis=1, keepdims=True)
    light = _AMBIENT + (1 - _AMBIENT) * facing[voxel, face]
    colors = np.clip(hue[face] * light[:, None], 0, 1)
    flat = corners[voxel, face, :, :2] + centres[voxel][:, None, :]
    return PolyCollection(flat, facecolors=colors, edgecolors=colors, linewidths=0.25)
