"""HEALPix folded to a hemisphere: pairs, levels and order."""

import numpy as np
import pytest
from sphere.reference import load_reference

from shd_bids.sphere.healpix import full_sphere, hemisphere, sphere_vertices

LEVELS = {8: 384, 4: 96, 2: 24, 1: 6}


@pytest.mark.parametrize(("n_side", "n_vertex"), LEVELS.items())
def test_the_levels_have_the_number_of_vertices_of_the_paper(n_side: int, n_vertex: int) -> None:
    assert hemisphere(n_side).vertices.shape == (n_vertex, 3)


@pytest.mark.parametrize("n_side", [1, 2, 4, 8, 16])
def test_every_pixel_or_its_antipode_is_kept_and_never_both(n_side: int) -> None:
    half = hemisphere(n_side)
    kept = np.zeros(12 * n_side**2, dtype=int)
    kept[half.pixels] += 1
    kept[half.antipodes[half.pixels]] += 1
    assert np.all(kept == 1)


@pytest.mark.parametrize("n_side", LEVELS)
def test_antipodes_are_opposite_and_mutual(n_side: int) -> None:
    half = hemisphere(n_side)
    np.testing.assert_allclose(half.sphere[half.antipodes], -half.sphere, atol=1e-12)
    assert np.array_equal(half.antipodes[half.antipodes], np.arange(len(half.sphere)))


@pytest.mark.parametrize("n_side", LEVELS)
def test_folding_keeps_the_axis_of_every_pixel(n_side: int) -> None:
    half = hemisphere(n_side)
    cosine = np.sum(half.vertices[half.fold] * half.sphere, axis=1)
    np.testing.assert_allclose(np.abs(cosine), 1.0, atol=1e-12)


@pytest.mark.parametrize("n_side", [1, 2, 4])
def test_the_parent_of_a_child_is_the_vertex(n_side: int) -> None:
    coarse, fine = hemisphere(n_side), hemisphere(2 * n_side)
    own = np.arange(len(coarse.vertices))[:, None]
    assert np.array_equal(fine.parents[coarse.children], np.broadcast_to(own, (len(own), 4)))


@pytest.mark.parametrize("n_side", [1, 2, 4])
def test_every_fine_vertex_is_the_child_of_one_coarse_vertex(n_side: int) -> None:
    children = hemisphere(n_side).children
    assert np.array_equal(np.sort(children.ravel()), np.arange(24 * n_side**2))


@pytest.mark.parametrize("n_side", [1, 2, 4])
def test_folding_the_full_sphere_gives_the_family_of_the_hemisphere(n_side: int) -> None:
    coarse, fine, whole = hemisphere(n_side), hemisphere(2 * n_side), full_sphere(n_side)
    assert np.array_equal(fine.fold[whole.children[coarse.pixels]], coarse.children)
    assert np.array_equal(
        full_sphere(2 * n_side).parents[whole.children[:, 3]], np.arange(12 * n_side**2)
    )
    assert np.array_equal(whole.vertices[coarse.pixels], coarse.vertices)


@pytest.mark.parametrize("n_side", [2, 4])
def test_children_lie_about_their_parent(n_side: int) -> None:
    coarse, fine = hemisphere(n_side), hemisphere(2 * n_side)
    cosine = np.abs(np.einsum("pcd,pd->pc", fine.vertices[coarse.children], coarse.vertices))
    assert np.degrees(np.arccos(cosine)).max() < 60 / n_side


def test_pixels_cover_equal_areas() -> None:
    # Equal weights integrate the low degrees: the second moment is a third of the identity.
    vertices = sphere_vertices(8)
    np.testing.assert_allclose(vertices.T @ vertices / len(vertices), np.eye(3) / 3, atol=1e-3)


@pytest.mark.parametrize("n_side", [0, 3, 6, -2])
def test_a_resolution_that_is_no_power_of_two_is_refused(n_side: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        hemisphere(n_side)
    with pytest.raises(ValueError, match="power of two"):
        full_sphere(n_side)


@pytest.mark.parametrize("n_side", LEVELS)
def test_the_vertices_and_their_order_are_those_of_the_authors(n_side: int) -> None:
    expected = load_reference("graph")[f"vertices_nside{n_side}"]
    np.testing.assert_allclose(hemisphere(n_side).vertices, expected, atol=1e-12)
