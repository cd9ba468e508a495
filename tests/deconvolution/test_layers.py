"""The convolution: the authors' numbers, its gradient, and what it is equivariant to."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sphere.reference import load_reference, rescale
from torch import Tensor, nn

from shd_bids.deconvolution.layers import (
    NormalisedActivation,
    Pool,
    SpatioSphericalConvolution,
    Unpool,
    _border_factor,
    _distance_sums,
    _distance_sums_adjoint,
    _HybridConvolution,
)
from shd_bids.sphere.graph import chebyshev_polynomials, hemisphere_laplacian
from shd_bids.sphere.healpix import hemisphere
from shd_bids.testing.equivariance import (
    grid_equivariance_error,
    sphere_equivariance_error,
    translation_equivariance_error,
)

EXACT = 1e-5  # float32
#: The recorded Laplacian and that of the recorded run differ by this; see ``rescale``.
EIGENVALUE_FACTOR = 1.00057822


def _convolution(n_side: int, n_in: int = 2, n_out: int = 3, **options: int) -> nn.Module:
    generator = torch.Generator().manual_seed(n_side)
    laplacian = hemisphere_laplacian(n_side)
    return SpatioSphericalConvolution(n_in, n_out, laplacian, generator=generator, **options)


def _signal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-6)])
def test_the_output_is_that_of_the_authors(dtype: torch.dtype, tolerance: float) -> None:
    # The recorded Laplacian is of float32 precision, and so is then the comparison in float64.
    recorded = load_reference("layer")
    laplacian = rescale(load_reference("graph")["laplacian_nside4"], EIGENVALUE_FACTOR)
    layer = SpatioSphericalConvolution(3, 4, laplacian).to(dtype)
    layer.filters = torch.as_tensor(np.hstack(list(chebyshev_polynomials(laplacian, 5)))).to(dtype)
    for name in ("spherical_weight", "spatial_weight", "bias"):
        getattr(layer, name).data = torch.as_tensor(recorded[name]).to(dtype)
    signal = torch.as_tensor(recorded["x"]).to(dtype).permute(2, 0, 3, 4, 5, 1)
    with torch.no_grad():
        output = layer(signal).permute(1, 5, 0, 2, 3, 4)
    np.testing.assert_allclose(output.numpy(), recorded["y"], atol=tolerance, rtol=0)


def test_distance_sums_equal_convolutions_with_the_four_masks() -> None:
    signal = _signal(1, 2, 3, 4, 2, 1, dtype=torch.float64)
    offsets = torch.tensor([-1, 0, 1])
    distance = sum(grid.abs() for grid in torch.meshgrid(offsets, offsets, offsets, indexing="ij"))
    kernel = torch.stack([(distance == r) for r in range(4)]).double().unsqueeze(1)
    expected = nn.functional.conv3d(signal[0, ..., 0].unsqueeze(1), kernel, padding=1)
    actual = _distance_sums(signal)[0].permute(0, 4, 1, 2, 3)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("shape", [(3, 4, 2), (1, 1, 1), (2, 1, 5)])
def test_the_adjoint_of_the_distance_sums_is_one(shape: tuple[int, int, int]) -> None:
    signal = _signal(2, 1, *shape, 3, dtype=torch.float64)
    other = _signal(2, 1, *shape, 12, dtype=torch.float64)
    forwards = (_distance_sums(signal) * other).sum()
    backwards = (signal * _distance_sums_adjoint(other)).sum()
    torch.testing.assert_close(forwards, backwards)


@pytest.mark.parametrize("spatial", [True, False])
@pytest.mark.parametrize("n_order", [1, 3])
def test_the_gradient_is_that_of_finite_differences(spatial: bool, n_order: int) -> None:
    polynomials = chebyshev_polynomials(hemisphere_laplacian(1), n_order)
    filters = torch.as_tensor(np.hstack(list(polynomials)))
    signal = _signal(6, 1, 2, 2, 1, 2, dtype=torch.float64).requires_grad_()
    weight = _signal(n_order, 8 if spatial else 2, 2, dtype=torch.float64).requires_grad_()
    factor = _border_factor(signal.detach()) if spatial else None
    assert torch.autograd.gradcheck(
        lambda x, w: _HybridConvolution.apply(x, w, filters, factor, spatial), (signal, weight)
    )


def test_the_whole_layer_is_differentiable_in_its_weights() -> None:
    layer = _convolution(1)
    layer(_signal(6, 1, 2, 2, 2, 2)).square().sum().backward()
    for name, weight in layer.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


def test_the_convolution_is_equivariant_to_the_symmetries_of_the_grid() -> None:
    assert grid_equivariance_error(_convolution(1), _signal(6, 1, 4, 4, 4, 2)) < EXACT


def test_the_convolution_is_equivariant_to_translations() -> None:
    signal = _signal(6, 1, 6, 6, 6, 2)
    assert translation_equivariance_error(_convolution(1), signal, shift=1, margin=1) < EXACT


@pytest.mark.parametrize("activation", [nn.Identity, nn.ReLU])
def test_the_error_under_rotations_of_the_sphere_falls_with_the_resolution(
    activation: Callable[[], nn.Module],
) -> None:
    # The same weights at every resolution: the eigenvalues of the graph converge.
    coarse, middle, fine = (
        sphere_equivariance_error(
            nn.Sequential(_convolution_of(n_side), activation()), n_side, n_channel=2
        )
        for n_side in (2, 4, 8)
    )
    assert fine < middle < coarse
    assert fine < 0.1


def _convolution_of(n_side: int) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    return SpatioSphericalConvolution(2, 3, hemisphere_laplacian(n_side), generator=generator)


class _OverVertices(nn.Module):
    """A dense layer over the vertices, which is equivariant to no rotation."""

    def __init__(self, n_vertex: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(n_vertex, n_vertex, generator=generator) / n_vertex**0.5

    def forward(self, signal: Tensor) -> Tensor:
        return torch.tensordot(self.weight, signal, dims=([1], [0]))


class _OverVoxels(nn.Module):
    """A common 3x3x3 convolution, which knows left from right."""

    def __init__(self, n_channel: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv3d(n_channel, n_channel, 3, padding=1)

    def forward(self, signal: Tensor) -> Tensor:
        flat = signal.flatten(0, 1).movedim(-1, 1)
        return self.convolution(flat).movedim(1, -1).reshape(signal.shape)


def test_a_dense_layer_over_the_vertices_fails_the_test_of_rotations() -> None:
    assert sphere_equivariance_error(_OverVertices(384), 8, n_channel=2) > 0.5


def test_a_common_convolution_over_voxels_fails_the_test_of_grid_symmetries() -> None:
    assert grid_equivariance_error(_OverVoxels(2), _signal(6, 1, 4, 4, 4, 2)) > 0.5


def test_a_weight_of_each_voxel_fails_the_test_of_translations() -> None:
    sign = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0]).view(5, 1, 1, 1)
    signal = _signal(6, 1, 6, 6, 6, 2)
    error = translation_equivariance_error(
        lambda window: window * sign, signal, shift=1, margin=1, axes=(2,)
    )
    assert error > 0.5


@pytest.mark.parametrize("spatial", [True, False])
def test_pooling_then_unpooling_keeps_a_constant(spatial: bool) -> None:
    signal = torch.full((24, 1, 5, 4, 3, 2), 1.5)
    pooled = Pool(hemisphere(1), spatial=spatial)(signal)
    assert pooled.shape == ((6, 1, 3, 2, 2, 2) if spatial else (6, 1, 5, 4, 3, 2))
    raised = Unpool(hemisphere(2), spatial=spatial)(pooled, (5, 4, 3))
    torch.testing.assert_close(raised, signal)


@pytest.mark.parametrize("spatial", [True, False])
def test_unpooling_then_pooling_is_the_identity(spatial: bool) -> None:
    coarse = _signal(6, 2, 2, 1, 3, 2)
    shape = (4, 2, 6) if spatial else (2, 1, 3)
    raised = Unpool(hemisphere(2), spatial=spatial)(coarse, shape)
    torch.testing.assert_close(Pool(hemisphere(1), spatial=spatial)(raised), coarse)


def test_the_activation_normalises_each_channel_and_rectifies() -> None:
    signal = _signal(6, 2, 3, 3, 3, 2) * torch.tensor([3.0, 0.1]) + torch.tensor([5.0, -2.0])
    output = NormalisedActivation(2)(signal)
    assert output.min() == 0.0
    torch.testing.assert_close(
        output.flatten(0, 4).mean(0), torch.full((2,), 0.399), atol=0.05, rtol=0
    )
