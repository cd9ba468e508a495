"""Fractions of the tissues."""

import numpy as np
import pytest

from shd_bids.deconvolution.solution import UNIT_COEFFICIENT, FodfSolution
from shd_bids.sphere.harmonics import sh_basis


def _solution(**tissue: float) -> FodfSolution:
    generator = np.random.default_rng(0)
    fodf_sh = generator.standard_normal((3, 3, 3, 15)).astype(np.float32)
    fodf_sh[0] = 0.0
    fodf_sh[1:, ..., 0] = np.abs(fodf_sh[1:, ..., 0]) + 0.1
    maps = {name: np.full((3, 3, 3), value, dtype=np.float32) for name, value in tissue.items()}
    for values in maps.values():
        values[0] = 0.0
    return FodfSolution("shd", fodf_sh, np.zeros((3, 3, 3), dtype=np.float32), maps)


def test_fractions_sum_to_one_where_there_is_signal_and_to_zero_elsewhere() -> None:
    fractions = _solution(GM=0.2, CSF=0.1).fractions
    assert list(fractions) == ["WM", "GM", "CSF"]
    total = sum(fractions.values())
    np.testing.assert_allclose(total[1:], 1.0, rtol=1e-6)
    assert not total[0].any()


def test_a_tissue_that_the_model_lacks_has_no_fraction() -> None:
    assert list(_solution(CSF=0.1).fractions) == ["WM", "CSF"]
    np.testing.assert_allclose(_solution().fractions["WM"][1:], 1.0)


def test_a_negative_coefficient_counts_as_none() -> None:
    fractions = _solution(GM=-0.3).fractions
    assert not fractions["GM"].any()
    np.testing.assert_allclose(fractions["WM"][1:], 1.0)


def test_a_voxel_full_of_white_matter_has_the_unit_coefficient() -> None:
    fodf_sh = sh_basis(np.array([[0.0, 0.0, 1.0]]), 4)[0]  # one fibre, whose integral is 1
    assert fodf_sh[0] == pytest.approx(UNIT_COEFFICIENT)
