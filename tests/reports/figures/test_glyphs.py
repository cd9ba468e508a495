"""Surfaces of fODFs: they point where the fibres run, and their colours say so."""

import numpy as np
import pytest
from dipy.reconst.shm import real_sh_tournier
from matplotlib.collections import PolyCollection

from shd_bids.reports.figures.glyphs import (
    draw_order,
    glyph_polygons,
    sample_fodf,
    sphere_faces,
)
from shd_bids.reports.figures.region import choose_regions


def fibre(direction, order: int = 8) -> np.ndarray:
    """SH coefficients of a smooth fODF with one fibre."""
    x, y, z = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    basis, _, degrees = real_sh_tournier(
        order, np.array([np.arccos(z)]), np.array([np.arctan2(y, x)]), legacy=False
    )
    return (basis[0] * np.exp(-0.01 * degrees * (degrees + 1))).astype(np.float32)


def drawn(direction, plane: str, affine=None) -> PolyCollection:
    to_page = draw_order(np.eye(4) if affine is None else affine, plane)
    return glyph_polygons(fibre(direction)[None], np.zeros((1, 2)), to_page, scale=1.0)


def extent(glyph: PolyCollection) -> np.ndarray:
    corners = np.concatenate([path.vertices for path in glyph.get_paths()])
    return np.ptp(corners, axis=0)


@pytest.mark.parametrize(
    ("direction", "plane", "axis"),
    [
        ((1, 0, 0), "axial", 0), ((0, 1, 0), "axial", 1), ((1, 0, 0), "coronal", 0),
        ((0, 0, 1), "coronal", 1), ((0, 1, 0), "sagittal", 0), ((0, 0, 1), "sagittal", 1),
    ],
)  # fmt: skip
def test_a_glyph_is_long_along_its_fibre(direction, plane, axis):
    width = extent(drawn(direction, plane))
    assert width[axis] > 2.5 * width[1 - axis]


@pytest.mark.parametrize(
    ("direction", "plane"), [((1, 0, 0), "axial"), ((0, 1, 0), "sagittal"), ((0, 0, 1), "coronal")]
)
def test_the_colour_of_a_lobe_is_its_direction_in_scanner_axes(direction, plane):
    glyph = drawn(direction, plane)
    centres = np.array([path.vertices[:3].mean(axis=0) for path in glyph.get_paths()])
    tip = glyph.get_facecolor()[np.argmax(np.linalg.norm(centres, axis=1)), :3]
    assert np.argmax(tip) == np.argmax(direction)
    assert np.sort(tip)[1] < 0.4 * tip.max()


def test_in_an_oblique_image_a_fibre_along_a_column_is_drawn_along_it():
    turn = np.deg2rad(25)
    rotation = np.array(
        [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([2.0, 2.0, 3.0])
    corners = np.concatenate(
        [path.vertices for path in drawn(rotation[:, 2], "coronal", affine).get_paths()]
    )
    far = corners[np.argmax(np.linalg.norm(corners, axis=1))]
    assert abs(far[0]) < 0.06 * abs(far[1])


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_the_page_is_a_rotation_of_the_scanner(plane):
    to_page = draw_order(np.diag([2.0, 2.0, 3.0, 1.0]), plane)
    np.testing.assert_allclose(to_page @ to_page.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(to_page) == pytest.approx(1.0)


def test_every_face_of_the_sphere_looks_outwards():
    vertices, faces = sphere_faces(2)
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("fd,fd->f", normal, corners.mean(axis=1)) > 0).all()


def test_amplitudes_are_never_negative_and_peak_along_the_fibre():
    directions, _ = sphere_faces(3)
    amplitude = sample_fodf(fibre((0.3, 0.5, 0.8))[None], directions)[0]
    assert amplitude.min() >= 0
    peak = directions[np.argmax(amplitude)]
    assert abs(peak @ np.array([0.3, 0.5, 0.8])) / np.linalg.norm([0.3, 0.5, 0.8]) > 0.98


def test_the_region_holds_the_crossing():
    shape = (30, 32, 28)
    rng = np.random.default_rng(3)
    fodf = rng.normal(0, 0.05, (*shape, 45)).astype(np.float32)
    fodf[8:18, 10:20, 9:19] += fibre((1, 0, 0)) + fibre((0, 0, 1))
    nufo = rng.integers(1, 6, shape)
    nufo[8:18, 10:20, 9:19] = 2
    regions = choose_regions(fodf, nufo, np.ones(shape, dtype=bool), np.eye(4), size=12)
    assert [region.plane for region in regions] == ["axial", "coronal", "sagittal"]
    for region in regions:
        inside = np.zeros(shape)
        inside[region.box] = 1
        assert inside[8:18, 10:20, 9:19].sum() >= 90


@pytest.mark.parametrize(
    ("shape", "plane"),
    [((20, 3, 20), "coronal"), ((20, 20, 2), "axial"), ((2, 20, 20), "sagittal")],
)
def test_a_thin_volume_is_cut_along_its_broad_side(shape, plane):
    fodf = np.random.default_rng(4).normal(size=(*shape, 15)).astype(np.float32)
    nufo = np.ones(shape)
    (region,) = choose_regions(fodf, nufo, np.ones(shape, dtype=bool), np.eye(4), size=24)
    assert region.plane == plane
    assert nufo[region.box].size == 400


def test_a_slab_of_ten_slices_is_still_cut_in_three_planes():
    fodf = np.zeros((40, 40, 10, 15), dtype=np.float32)
    mask = np.ones(fodf.shape[:3], dtype=bool)
    regions = choose_regions(fodf, np.ones(mask.shape), mask, np.eye(4))
    assert [region.size for region in regions] == [(24, 24), (24, 10), (24, 10)]
