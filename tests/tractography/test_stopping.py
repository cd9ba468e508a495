"""Where streamlines may go follows from the tissues that the model has."""

import numpy as np
from tractography.fodfs import delta_fodf

from shd_bids.tractography.stopping import ends_in_fluid, fluid_map, white_matter_map

SHAPE = (4, 3, 2)


def _scene() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return fODFs, mask and fractions of half white matter, a quarter grey matter and CSF."""
    fodf = np.broadcast_to(0.5 * delta_fodf([1, 0, 0]), (*SHAPE, 45)).copy()
    parts = {"WM": 0.5, "GM": 0.25, "CSF": 0.25}
    fractions = {name: np.full(SHAPE, part, dtype=np.float32) for name, part in parts.items()}
    return fodf, np.ones(SHAPE, dtype=bool), fractions


def test_the_white_matter_fraction_is_used_when_there_are_other_tissues():
    fodf, mask, fractions = _scene()
    np.testing.assert_allclose(white_matter_map(fodf, mask, fractions), 0.5)
    fractions["WM"][0] = 0.9
    np.testing.assert_allclose(white_matter_map(fodf, mask, fractions)[0], 0.9)


def test_with_white_matter_alone_the_fibre_density_stands_for_the_fraction():
    fodf, mask, _ = _scene()
    alone = {"WM": np.ones(SHAPE, dtype=np.float32), "CSF": np.zeros(SHAPE, dtype=np.float32)}
    np.testing.assert_allclose(white_matter_map(fodf, mask, alone), 0.5, rtol=1e-5)
    np.testing.assert_allclose(white_matter_map(fodf, mask, {}), 0.5, rtol=1e-5)
    np.testing.assert_allclose(white_matter_map(4 * fodf, mask, {}), 1.0)


def test_there_is_nothing_to_follow_outside_the_mask_or_where_the_fodf_is_low():
    fodf, mask, fractions = _scene()
    mask[0] = False
    fodf[1] *= 0.01
    fodf[2] = np.nan
    white_matter = white_matter_map(fodf, mask, fractions)
    assert white_matter.dtype == np.float32
    assert np.all(white_matter[:3] == 0)
    np.testing.assert_allclose(white_matter[3], 0.5)


def test_fluid_is_told_from_grey_matter_with_three_tissues_only():
    _, _, fractions = _scene()
    assert fluid_map(fractions) is not None
    assert fluid_map({**fractions, "GM": np.zeros(SHAPE, dtype=np.float32)}) is None
    assert fluid_map({"WM": fractions["WM"], "CSF": fractions["CSF"]}) is None


def test_a_stop_is_in_fluid_where_the_voxel_is_mostly_csf():
    csf = np.zeros(SHAPE, dtype=np.float32)
    csf[2:] = 1.0
    stops = np.array([[-9.0, 1, 1], [1.4, 1, 1], [1.6, 1, 1], [3, 1, 1], [9, 1, 1]])
    np.testing.assert_array_equal(ends_in_fluid(stops, csf), [False, False, True, True, True])
