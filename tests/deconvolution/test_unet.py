"""The U-Net: the authors' numbers, sizes, and its equivariance as a whole."""

import numpy as np
import pytest
import torch
from sphere.reference import load_reference, rescale
from torch import nn

from shd_bids.deconvolution.unet import SphericalUNet
from shd_bids.testing.equivariance import (
    grid_equivariance_error,
    sphere_equivariance_error,
    translation_equivariance_error,
)

#: Of the recorded Laplacians to those of the recorded run, n_side 4, 2, 1; see ``rescale``.
EIGENVALUE_FACTORS = {4: 1.0005782, 2: 1.0038354, 1: 0.9999981}


def _network(n_side: int = 2, n_level: int = 2, filters: int = 2) -> SphericalUNet:
    generator = torch.Generator().manual_seed(0)
    network = SphericalUNet(
        2, 2, n_side=n_side, n_level=n_level, filters=filters, generator=generator
    )
    return network.eval()


def _load_convolution(layer: nn.Module, recorded: dict[str, np.ndarray], prefix: str) -> None:
    sources = {"spherical_weight": "weightSph", "spatial_weight": "weightSpa", "bias": "bias"}
    for name, weight in layer.named_parameters():
        values = torch.as_tensor(recorded[f"{prefix}/{sources[name]}"]).float()
        weight.data = values.reshape(weight.shape)


def _load_block(block: nn.Module, recorded: dict[str, np.ndarray], prefix: str) -> None:
    for index in (0, 1):
        layer = block.convolutions[index]
        _load_convolution(layer, recorded, f"{prefix}/block/conv/{index}/conv")
        norm = block.activations[index].norm
        for name in ("weight", "bias", "running_mean", "running_var"):
            values = torch.as_tensor(recorded[f"{prefix}/block/bn/{index}/{name}"])
            getattr(norm, name).data = values.float()


def test_the_output_is_that_of_the_authors() -> None:
    recorded, graph = load_reference("unet"), load_reference("graph")
    laplacians = [
        rescale(graph[f"laplacian_nside{n_side}"], factor)
        for n_side, factor in EIGENVALUE_FACTORS.items()
    ]
    network = SphericalUNet(2, 2, n_side=4, n_level=3, filters=4, laplacians=laplacians).eval()
    for index, block in enumerate(network.encoder):
        _load_block(block, recorded, f"state/encoder/enc_blocks/{index}")
    for index, block in enumerate(reversed(network.decoder)):
        _load_block(block, recorded, f"state/decoder/dec_blocks/{index}")
    _load_convolution(network.head, recorded, "state/decoder/head/conv/conv")
    with torch.no_grad():
        output = network(torch.as_tensor(recorded["x"]).permute(2, 0, 3, 4, 5, 1))
    actual = nn.functional.softplus(output).permute(1, 5, 0, 2, 3, 4).numpy()
    largest = np.abs(recorded["y"]).max()
    np.testing.assert_allclose(actual, recorded["y"], atol=1e-4 * largest, rtol=0)


@pytest.mark.parametrize("shape", [(4, 4, 4), (5, 3, 6), (1, 2, 3)])
def test_the_output_has_the_shape_of_the_input(shape: tuple[int, int, int]) -> None:
    with torch.no_grad():
        assert _network()(torch.ones(24, 1, *shape, 2)).shape == (24, 1, *shape, 2)


def test_the_network_of_the_paper_has_about_a_million_weights() -> None:
    network = SphericalUNet(3, 3, n_side=8, n_level=4, filters=32)
    assert 1.0e6 < sum(weight.numel() for weight in network.parameters()) < 1.5e6


def test_more_levels_than_the_sphere_can_be_halved_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be halved 2 times"):
        _network(n_side=2, n_level=3)


def test_the_network_is_equivariant_to_the_symmetries_of_the_grid() -> None:
    signal = torch.randn(24, 1, 4, 4, 4, 2, generator=torch.Generator().manual_seed(1))
    assert grid_equivariance_error(_network(), signal) < 1e-5


def test_borders_that_are_normalised_do_not_show_in_a_uniform_volume() -> None:
    # Of an odd size, too, the pooled voxels stand for the last one.
    generator = torch.Generator().manual_seed(0)
    network = SphericalUNet(
        2, 2, n_side=2, n_level=2, filters=2, repeat_border=True, generator=generator
    ).eval()
    voxel = torch.randn(24, 1, 1, 1, 1, 2, generator=generator)
    with torch.no_grad():
        output = network(voxel.expand(-1, -1, 5, 4, 4, -1))
    spread = output.flatten(1, 4).std(dim=1).max()
    assert spread < 1e-5 * output.abs().max()


def test_the_network_is_equivariant_to_shifts_by_its_pooling() -> None:
    # Convolutions at full scale see 4 voxels, those at half scale 4 more, pooling 1: within 10.
    signal = torch.randn(24, 1, 32, 1, 1, 2, generator=torch.Generator().manual_seed(1))
    error = translation_equivariance_error(_network(), signal, shift=2, margin=10, axes=(2,))
    assert error < 1e-5


def test_the_error_under_rotations_of_the_sphere_falls_with_the_resolution() -> None:
    coarse, fine = (
        sphere_equivariance_error(_network(n_side=n_side), n_side, n_channel=2) for n_side in (2, 8)
    )
    assert fine < coarse
    assert fine < 0.5
