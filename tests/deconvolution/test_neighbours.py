"""Sums over neighbours by distance, and their transposes."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from shd_bids.deconvolution.neighbours import distance_sums, distance_sums_adjoint

SHAPES = [(3, 4, 2), (1, 1, 1), (2, 1, 5)]
both_borders = pytest.mark.parametrize("repeat", [True, False])
every_shape = pytest.mark.parametrize("shape", SHAPES)


def _signal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@both_borders
@every_shape
def test_distance_sums_equal_convolutions_with_the_four_masks(
    repeat: bool, shape: tuple[int, int, int]
) -> None:
    signal = _signal(1, 2, *shape, 1)
    offsets = torch.tensor([-1, 0, 1])
    distance = sum(grid.abs() for grid in torch.meshgrid(offsets, offsets, offsets, indexing="ij"))
    kernel = torch.stack([(distance == r) for r in range(4)]).double().unsqueeze(1)
    padded = functional.pad(
        signal[0, ..., 0].unsqueeze(1), (1,) * 6, mode="replicate" if repeat else "constant"
    )
    expected = functional.conv3d(padded, kernel)
    actual = distance_sums(signal, repeat_border=repeat)[0].permute(0, 4, 1, 2, 3)
    torch.testing.assert_close(actual, expected)


@both_borders
@every_shape
def test_the_adjoint_of_the_distance_sums_is_one(repeat: bool, shape: tuple[int, int, int]) -> None:
    signal, other = _signal(2, 1, *shape, 3), _signal(2, 1, *shape, 12)
    forwards = (distance_sums(signal, repeat_border=repeat) * other).sum()
    adjoint = distance_sums_adjoint(other.chunk(4, dim=-1), repeat_border=repeat)
    torch.testing.assert_close(forwards, (signal * adjoint).sum())
