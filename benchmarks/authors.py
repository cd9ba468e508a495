"""The network of the authors' clone, run on our graphs and, for a check, with our weights.

Their modules for layers and pooling need nothing but torch; their graph construction, which needs
healpy and pygsp, is not used: the hemisphere, its Laplacians and its pooling indices are ours,
which are the same. Signals have their axes, ``(batch, channel, vertex, x, y, z)``.
"""

import contextlib
import io
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from shd_bids.deconvolution.unet import SphericalUNet
from shd_bids.errors import ConfigError
from shd_bids.sphere.graph import hemisphere_laplacian
from shd_bids.sphere.healpix import hemisphere

_CONVOLUTION = "mixed"  # their name of the spatio-spherical one


def build_authors_layer(clone_dir: Path, n_in: int, n_out: int, n_side: int) -> nn.Module:
    """Build one convolution of 5 Chebyshev terms and 3x3x3 voxels, isotropic in space.

    Raises
    ------
    ConfigError
        If the folder is not a clone of fast-equivariant-deconv.
    """
    with _modules_of(clone_dir):
        convolution = import_module("model.graphconv").Conv
        laplacian = _as_sparse(hemisphere_laplacian(n_side))
        return convolution(n_in, n_out, laplacian, 5, 3, conv_name=_CONVOLUTION, isoSpa=True)


def build_authors_unet(
    clone_dir: Path, n_in: int, n_out: int, *, n_side: int, n_level: int, filters: int, patch: int
) -> nn.Module:
    """Build their U-Net, softplus included, for cubic patches of one size.

    Raises
    ------
    ConfigError
        If the folder is not a clone of fast-equivariant-deconv.
    """
    with _modules_of(clone_dir):
        network = import_module("model.unet").GraphCNNUnet
        poolings, patches = _make_poolings(import_module("utils.pooling"), n_side, n_level, patch)
        sides = [n_side >> level for level in reversed(range(n_level))]  # coarsest first
        laplacians = [_as_sparse(hemisphere_laplacian(side)) for side in sides]
        vertices = [hemisphere(side).vertices for side in sides]
        return network(
            n_in,
            n_out,
            filters,
            2,
            1,
            5,
            3,
            poolings,
            laplacians,
            _CONVOLUTION,
            True,
            True,
            patches,
            vertices,
            len(vertices[-1]),
        )


@torch.no_grad()
def copy_weights(ours: SphericalUNet, theirs: Any) -> None:
    """Give the authors' U-Net the weights of a ``SphericalUNet``, so that outputs can be compared.

    Where a level of theirs has patches of one voxel, they drop the spatial kernel: its weights are
    the products with those of the centre.
    """
    pairs: list[tuple[Any, Any]] = [
        *zip(ours.encoder, theirs.encoder.enc_blocks, strict=True),
        *zip(reversed(ours.decoder), theirs.decoder.dec_blocks, strict=True),
    ]
    for block, peer in pairs:
        for index, convolution in enumerate(block.convolutions):
            _copy_convolution(convolution, peer.block.conv[index].conv)
            norm = block.activations[index].norm
            peer.block.bn[index].load_state_dict(norm.state_dict())
    _copy_convolution(ours.head, theirs.decoder.head.conv.conv)


def _copy_convolution(ours: Any, theirs: Any) -> None:
    theirs.bias.copy_(ours.bias.view_as(theirs.bias))
    spherical = ours.spherical_weight  # (n_out, n_in, order)
    if hasattr(theirs, "weightSph"):
        theirs.weightSph.copy_(spherical.reshape(theirs.weightSph.shape))
        if hasattr(ours, "spatial_weight"):
            theirs.weightSpa.copy_(ours.spatial_weight.reshape(theirs.weightSpa.shape))
        else:
            theirs.weightSpa.fill_(1.0)
    else:
        product = spherical * ours.spatial_weight[..., :1]
        theirs.weight.copy_(product.permute(2, 1, 0).reshape(theirs.weight.shape))


def _make_poolings(
    pooling: Any, n_side: int, n_level: int, patch: int
) -> tuple[list[Any], list[int]]:
    """Choose pooling per level as their ``HealpixSampling`` does; coarsest first."""
    poolings, patches = [], [patch]
    for _ in range(n_level - 1):
        fine, coarse = hemisphere(n_side), hemisphere(n_side // 2)
        index: dict[str, Any] = {
            "hemisphere": True,
            "index_north_hemi_hr": np.isin(np.arange(len(fine.fold)), fine.pixels),
            "index_north_hemi_lr": np.isin(np.arange(len(coarse.fold)), coarse.pixels),
            "match_sel_hr": fine.antipodes,
            "match_sel_lr": coarse.antipodes,
        }
        if patch > 1:
            stride = (1,) * 3 if patch % 2 else (2,) * 3
            poolings.append(pooling.MixedPooling(kernel_size_spa=(2,) * 3, stride=stride, **index))
            patch = patch - 1 if patch % 2 else patch // 2
        else:
            poolings.append(pooling.HealpixPooling(**index))
        patches.append(patch)
        n_side //= 2
    return poolings[::-1], patches[::-1]


def _as_sparse(laplacian: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(laplacian).float().to_sparse_coo()


@contextlib.contextmanager
def _modules_of(clone_dir: Path) -> Iterator[None]:
    """Let the clone's modules be imported, and keep what they print to themselves."""
    if not (clone_dir / "model" / "unet.py").is_file():
        raise ConfigError(
            f"{clone_dir} holds no model/unet.py. Give a clone of "
            "https://github.com/AxelElaldi/fast-equivariant-deconv as --reference."
        )
    sys.path.insert(0, str(clone_dir.resolve()))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        sys.path.remove(str(clone_dir.resolve()))
