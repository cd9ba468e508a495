"""Every form of the convolution is the same function of the same weights."""

import pytest
import torch
from torch import Tensor, nn

from shd_bids.deconvolution.forms import FORMS, Form, TapConvolution, TapPool, TapUnpool
from shd_bids.deconvolution.layers import Pool, SpatioSphericalConvolution, Unpool
from shd_bids.deconvolution.unet import SphericalUNet
from shd_bids.sphere.graph import hemisphere_laplacian, sphere_laplacian
from shd_bids.sphere.healpix import full_sphere, hemisphere

EXACT = 1e-5  # float32
N_IN, N_OUT = 2, 3
OPTIONS = [
    {},
    {"spatial": False},
    {"repeat_border": True},
    {"n_order": 1},
    {"n_order": 2, "spatial": False},
]


def _pair(n_side: int, form: Form, **options: int) -> tuple[nn.Module, nn.Module]:
    """Give our convolution and the same in another form, with the same weights."""
    generator = torch.Generator().manual_seed(n_side)
    half = hemisphere_laplacian(n_side)
    ours = SpatioSphericalConvolution(N_IN, N_OUT, half, generator=generator, **options)
    laplacian = sphere_laplacian(n_side) if form == "sphere" else half
    other = TapConvolution(N_IN, N_OUT, laplacian, form=form, **options)
    other.load_state_dict(ours.state_dict(), strict=True)
    return ours, other


def _signal(n_side: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6 * n_side**2, 2, *shape, N_IN, generator=generator)


def _on_hemisphere(layer: nn.Module, form: Form, signal: Tensor, n_side: int) -> Tensor:
    """Apply a form to an antipodally symmetric signal and keep the hemisphere."""
    if form != "sphere":
        return layer(signal)
    half = hemisphere(n_side)
    return layer(signal[torch.as_tensor(half.fold)])[torch.as_tensor(half.pixels)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_side", [1, 2, 4, 8])
def test_every_form_gives_our_output_at_every_level(form: Form, n_side: int) -> None:
    ours, other = _pair(n_side, form)
    signal = _signal(n_side, 3, 4, 2)
    with torch.no_grad():
        expected = ours(signal)
        actual = _on_hemisphere(other, form, signal, n_side)
    torch.testing.assert_close(actual, expected, atol=EXACT, rtol=EXACT)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", [(3, 4, 2), (1, 1, 1), (1, 3, 1)])
def test_every_form_gives_our_gradients(
    form: Form, options: dict[str, int], shape: tuple[int, int, int]
) -> None:
    ours, other = _pair(2, form, **options)
    signal = _signal(2, *shape).requires_grad_()
    probe = torch.randn(24, 2, *shape, N_OUT, generator=torch.Generator().manual_seed(2))
    gradients = []
    for layer, run in ((ours, "commuted"), (other, form)):
        output = _on_hemisphere(layer, run, signal, 2)  # type: ignore[arg-type]  # ours takes half
        sources = [signal, *(weight for _, weight in sorted(layer.named_parameters()))]
        gradients.append(torch.autograd.grad((output * probe).sum(), sources))
    for expected, actual in zip(*gradients, strict=True):
        scale = float(expected.abs().max())
        torch.testing.assert_close(actual, expected, atol=EXACT * (1 + scale), rtol=EXACT)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("spatial", [True, False])
def test_a_unet_of_any_form_gives_our_output(form: Form, spatial: bool) -> None:
    size = {"n_side": 4, "n_level": 3, "filters": 4, "spatial": spatial, "repeat_border": True}
    generator = torch.Generator().manual_seed(0)
    ours = SphericalUNet(N_IN, N_OUT, generator=generator, **size).eval()
    other = SphericalUNet(N_IN, N_OUT, form=form, **size).eval()
    other.load_state_dict(ours.state_dict(), strict=True)
    signal = _signal(4, 5, 4, 3)
    with torch.no_grad():
        expected, actual = ours(signal), other(signal)
    scale = float(expected.abs().max())
    torch.testing.assert_close(actual, expected, atol=EXACT * scale, rtol=0)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_computes_in_the_precision_of_its_signal(form: Form) -> None:
    torch.manual_seed(0)  # rounding to 8 bits is judged for these weights
    network = SphericalUNet(N_IN, N_OUT, form=form, n_side=2, n_level=2, filters=4).eval()
    signal = _signal(2, 4, 4, 4)
    with torch.no_grad():
        expected, actual = network(signal), network(signal.bfloat16())
    assert actual.dtype == torch.bfloat16
    torch.testing.assert_close(actual.float(), expected, atol=0.05, rtol=0.05)


def test_a_unet_without_a_spatial_kernel_sees_each_voxel_alone() -> None:
    network = SphericalUNet(N_IN, N_OUT, n_side=2, n_level=2, filters=4, spatial=False).eval()
    signal = _signal(2, 3, 2, 2)
    with torch.no_grad():
        together, alone = network(signal), network(signal[:, :, 1:2, 1:2, :1])
    torch.testing.assert_close(together[:, :, 1:2, 1:2, :1], alone)


@pytest.mark.parametrize("spatial", [True, False])
@pytest.mark.parametrize("shape", [(4, 2, 6), (5, 3, 1)])
def test_pooling_and_unpooling_are_ours(spatial: bool, shape: tuple[int, int, int]) -> None:
    coarse, fine = hemisphere(2), hemisphere(4)
    signal = _signal(4, *shape)
    expected = Pool(coarse, spatial=spatial)(signal)
    pooled = TapPool(coarse.children, spatial=spatial)(signal)
    torch.testing.assert_close(pooled, expected)
    raised = TapUnpool(fine.parents, spatial=spatial)(pooled, shape)
    torch.testing.assert_close(raised, Unpool(fine, spatial=spatial)(expected, shape))


def test_pooling_the_full_sphere_keeps_antipodal_symmetry() -> None:
    fine, coarse = hemisphere(4), hemisphere(2)
    signal = _signal(4, 2, 2, 2)[torch.as_tensor(fine.fold)]
    pooled = TapPool(full_sphere(2).children, spatial=True)(signal)
    torch.testing.assert_close(pooled[torch.as_tensor(coarse.antipodes)], pooled)
