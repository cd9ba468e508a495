"""Presets: sizes that fit together."""

import pytest

from shd_bids.deconvolution.presets import PRESETS, get_preset
from shd_bids.errors import ConfigError
from shd_bids.sphere.harmonics import count_coefficients


def test_an_unknown_preset_is_refused_with_the_choice() -> None:
    with pytest.raises(ConfigError, match=r"--shd-preset huge is unknown.*fast, standard, paper"):
        get_preset("huge")


@pytest.mark.parametrize("name", PRESETS)
def test_patches_tiles_and_halos_are_multiples_of_the_pooling(name: str) -> None:
    preset = get_preset(name)
    pooling = 2 ** (preset.n_level - 1)
    assert preset.patch % pooling == preset.tile % pooling == preset.halo % pooling == 0
    assert preset.n_side % pooling == 0


@pytest.mark.parametrize("name", PRESETS)
def test_the_vertices_carry_the_largest_degree(name: str) -> None:
    preset = get_preset(name)
    assert 2 * count_coefficients(preset.largest_degree) <= 6 * preset.n_side**2
    assert preset.largest_degree >= 8
    assert preset.loss_n_side >= preset.n_side
