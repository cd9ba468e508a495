"""The convolution: the authors' numbers, its gradient, and what it is equivariant to."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sphere.reference import load_reference, rescale
from torch import Tensor, nn

from shd_bids.deconvolution import layers
from shd_bids.deconvolution.layers import (
    NormalisedActivation,
    Pool,
    SpatioSphericalConvolution,
    Unpool,
    _Convolution,
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
    layer.filters = torch.as_tensor(np.stack(chebyshev_polynomials(laplacian, 5))).to(dtype)
    for name in ("spherical_weight", "spatial_weight", "bias"):
        getattr(layer, name).data = torch.as_tensor(recorded[name]).to(dtype)
    signal = torch.as_tensor(recorded["x"]).to(dtype).permute(2, 0, 3, 4, 5, 1)
    with torch.no_grad():
        output = layer(signal).permute(1, 5, 0, 2, 3, 4)
    np.testing.assert_allclose(output.numpy(), recorded["y"], atol=tolerance, rtol=0)


@pytest.mark.parametrize("repeat_border", [True, False])
@pytest.mark.parametrize("rectify", [True, False])
@pytest.mark.parametrize("n_order", [1, 3])
def test_the_gradient_is_that_of_finite_differences(
    repeat_border: bool, rectify: bool, n_order: int
) -> None:
    filters = torch.as_tensor(np.stack(chebyshev_polynomials(hemisphere_laplacian(1), n_order)))
    signal = _signal(6, 1, 2, 3, 1, 2, dtype=torch.float64).requires_grad_()
    weight = _signal(n_order, 4, 2, 2, dtype=torch.float64).requires_grad_()
    bias = _signal(2, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *given: _Convolution.apply(*given, filters, repeat_border, rectify),
        (signal, weight, bias),
    )


def test_sums_in_blocks_are_those_of_all_vertices_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, signal = _convolution(2), _signal(24, 1, 3, 3, 3, 2)
    expected = layer(signal)
    monkeypatch.setattr(layers, "_BLOCK_BYTES", 20 * signal[0].numel())
    torch.testing.assert_close(layer(signal), expected)


def test_in_bfloat16_the_output_is_nearly_that_in_float32() -> None:
    layer, signal = _convolution(2), _signal(24, 1, 4, 4, 4, 2)
    exact = layer(signal)
    assert (layer(signal.bfloat16()).float() - exact).norm() < 0.02 * exact.norm()


def test_a_gain_and_an_offset_are_those_of_the_output() -> None:
    layer, signal = _convolution(1), _signal(6, 1, 2, 2, 2, 2)
    gain, offset = _signal(3), _signal(2, 3)[1]
    torch.testing.assert_close(layer(signal, gain, offset), layer(signal) * gain + offset)


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
    layer, signal = _convolution(1), _signal(6, 2, 3, 3, 3, 2)
    filtered = layer(signal)
    centred = filtered - filtered.mean(dim=(0, 1, 2, 3, 4))
    scale = filtered.var(dim=(0, 1, 2, 3, 4), correction=0).add(1e-5).sqrt()
    expected = nn.functional.relu(centred / scale)
    torch.testing.assert_close(NormalisedActivation(3)(layer, signal), expected)


def test_fixed_statistics_are_one_with_the_convolution() -> None:
    layer, signal, activation = _convolution(1), _signal(6, 2, 3, 3, 3, 2), NormalisedActivation(3)
    activation.norm.load_state_dict(
        {"weight": _signal(3), "bias": _signal(2, 3)[1], "running_mean": _signal(3, 3)[2],
         "running_var": _signal(3).abs(), "num_batches_tracked": torch.tensor(1)}
    )  # fmt: skip
    activation.eval()
    expected = activation.norm(layer(signal).view(-1, 3)).view(6, 2, 3, 3, 3, 3).relu()
    torch.testing.assert_close(activation(layer, signal), expected)
