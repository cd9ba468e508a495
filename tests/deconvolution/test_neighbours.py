"""Sums over neighbours by distance, and their transposes."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from shd_bids.deconvolution.neighbours import (
    distance_sums,
    distance_sums_adjoint,
    pad_border,
    pad_border_adjoint,
)

SHAPES = [(3, 4, 2), (1, 1, 1), (2, 1, 5)]


def _signal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_distance_sums_equal_convolutions_with_the_four_masks() -> None:
    signal = _signal(1, 2, 3, 4, 2, 1)
    offsets = torch.tensor([-1, 0, 1])
    distance = sum(grid.abs() for grid in torch.meshgrid(offsets, offsets, offsets, indexing="ij"))
    kernel = torch.stack([(distance == r) for r in range(4)]).double().unsqueeze(1)
    expected = functional.conv3d(signal[0, ..., 0].unsqueeze(1), kernel, padding=1)
    actual = distance_sums(pad_border(signal, repeat=False))[0].permute(0, 4, 1, 2, 3)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_border_goes_on_as_it_is_there(shape: tuple[int, int, int]) -> None:
    signal = _signal(2, 1, *shape, 3)
    expected = functional.pad(signal[:, 0].movedim(-1, 1), (1,) * 6, mode="replicate")
    actual = pad_border(signal, repeat=True)[:, 0].movedim(-1, 1)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("repeat", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_adjoint_of_the_border_is_one(repeat: bool, shape: tuple[int, int, int]) -> None:
    signal, other = _signal(2, 1, *shape, 3), _signal(2, 1, *(n + 2 for n in shape), 3)
    forwards = (pad_border(signal, repeat=repeat) * other).sum()
    backwards = (signal * pad_border_adjoint(other.clone(), repeat=repeat)).sum()
    torch.testing.assert_close(forwards, backwards)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_adjoint_of_the_distance_sums_is_one(shape: tuple[int, int, int]) -> None:
    signal, other = _signal(2, 1, *(n + 2 for n in shape), 3), _signal(2, 1, *shape, 12)
    forwards = (distance_sums(signal) * other).sum()
    backwards = (signal * distance_sums_adjoint(other)).sum()
    torch.testing.assert_close(forwards, backwards)
