"""What ``speed`` measures: a layer or a U-Net, in one form, one forward pass or training step."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shd_bids.deconvolution.forms import FORMS, Form, TapConvolution
from shd_bids.deconvolution.layers import SpatioSphericalConvolution
from shd_bids.deconvolution.unet import SphericalUNet
from shd_bids.sphere.graph import hemisphere_laplacian, sphere_laplacian
from shd_bids.sphere.healpix import hemisphere

from .authors import build_authors_layer, build_authors_unet

OURS = "commuted"
AUTHORS = "authors"
#: From the slowest of the paper's ladder to ours; the authors' code comes last.
LABELS = {
    "sphere": "full sphere",
    "hemisphere": "+ hemisphere",
    "dense": "+ dense",
    "precomputed": "+ precomputed",
    OURS: "ours",
    AUTHORS: "authors' code",
}
LARGEST_LEVEL = 4


@dataclass(frozen=True)
class Case:
    """One bar of the figure.

    Attributes
    ----------
    part
        "layer": one convolution; "unet": the whole network, softplus included.
    form
        A key of ``LABELS``.
    training
        Forward, backward and a step of Adam, or forward alone.
    precision
        "float32" or "bfloat16".
    patch, batch
        Voxels along an edge, and patches.
    filters
        Of the U-Net at full resolution; of the layer it has this many channels in and twice as
        many out.
    """

    part: str
    form: str
    n_side: int
    precision: str
    training: bool
    patch: int = 8
    batch: int = 1
    filters: int = 32
    n_in: int = 4
    n_out: int = 3
    device: str = "cpu"
    reference: Path | None = None

    @property
    def n_level(self) -> int:
        """Levels of the U-Net: as many as the sphere and our pooling allow, at most 4."""
        return min(LARGEST_LEVEL, int(np.log2(self.n_side)) + 1)


def build_step(case: Case) -> Callable[[], Tensor]:
    """Make network and input, and return the function to be timed."""
    torch.manual_seed(0)
    network = build_network(case).to(case.device)
    signal = _make_signal(case).to(case.device)
    dtype = getattr(torch, case.precision)
    own_dtype = case.form == OURS  # ours takes its precision from the signal
    if own_dtype:
        signal = signal.to(dtype)

    def forward() -> Tensor:
        with nullcontext() if own_dtype else _autocast(case.device, dtype):
            return network(signal)

    if not case.training:
        network.eval()

        def predict() -> Tensor:
            with torch.inference_mode():
                return forward()

        return predict
    network.train()
    # Inside a network the gradient of a layer's input is needed, too.
    signal.requires_grad_(case.part == "layer")
    optimiser = torch.optim.Adam(network.parameters())

    def train() -> Tensor:
        loss = forward().float().square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        signal.grad = None
        return loss.detach()

    return train


def build_network(case: Case) -> nn.Module:
    """Make the layer or the U-Net of a case, in training mode, on the CPU."""
    if case.part == "layer":
        n_in, n_out = case.filters, 2 * case.filters
        if case.form == AUTHORS:
            return build_authors_layer(_clone(case), n_in, n_out, case.n_side)
        if case.form == OURS:
            return SpatioSphericalConvolution(n_in, n_out, hemisphere_laplacian(case.n_side))
        whole = case.form == "sphere"
        laplacian = sphere_laplacian(case.n_side) if whole else hemisphere_laplacian(case.n_side)
        return TapConvolution(n_in, n_out, laplacian, form=_form(case.form))
    size: dict[str, Any] = {
        "n_side": case.n_side,
        "n_level": case.n_level,
        "filters": case.filters,
    }
    if case.form == AUTHORS:
        return build_authors_unet(_clone(case), case.n_in, case.n_out, patch=case.patch, **size)
    size["form"] = case.form
    return nn.Sequential(SphericalUNet(case.n_in, case.n_out, **size), nn.Softplus())


def _make_signal(case: Case) -> Tensor:
    """Make an input that lies in memory as the form wants it."""
    n_channel = case.filters if case.part == "layer" else case.n_in
    n_vertex = 6 * case.n_side**2
    cube = (case.patch,) * 3
    if case.form == OURS:
        return torch.randn(n_vertex, case.batch, *cube, n_channel)
    signal = torch.randn(case.batch, n_channel, n_vertex, *cube)
    if case.form == AUTHORS:
        return signal
    if case.form == "sphere" and case.part == "layer":
        signal = signal[:, :, torch.as_tensor(hemisphere(case.n_side).fold)]
    return signal.permute(2, 0, 3, 4, 5, 1)


def cases_side_by_side(cases: list[Case]) -> Iterator[list[Case]]:
    """Group the cases that differ in nothing but their form, keeping their order."""
    groups: dict[tuple[object, ...], list[Case]] = {}
    for case in cases:
        key = (case.part, case.n_side, case.precision, case.training)
        groups.setdefault(key, []).append(case)
    yield from groups.values()


def _autocast(device: str, dtype: torch.dtype) -> AbstractContextManager[object]:
    return torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32)


def _clone(case: Case) -> Path:
    if case.reference is None:
        raise ValueError("A case of the authors' code needs the folder of their clone.")
    return case.reference


def _form(name: str) -> Form:
    return FORMS[FORMS.index(name)]
