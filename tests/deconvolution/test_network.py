"""The whole network: it starts at the start, keeps b=0, and turns with the grid."""

from dataclasses import replace

import pytest
import torch
from deconvolution.scans import apply, signal_model, tiny_network, tiny_scan, whole

from shd_bids.deconvolution.forward import SignalModel
from shd_bids.deconvolution.network import _SMALLEST_START, NetworkSettings, ShdNetwork
from shd_bids.testing.equivariance import grid_equivariance_error

N_VERTEX = 24


@pytest.fixture(scope="module")
def model() -> SignalModel:
    return signal_model()


def test_a_fresh_network_gives_the_start_times_one_number_a_voxel(model: SignalModel) -> None:
    network, patch = tiny_network(model), whole(tiny_scan(model, (4, 3, 3)))
    with torch.no_grad():
        initial = network.initial(patch.physics, patch.dwi, patch.start)
        output = apply(network, patch)
    torch.testing.assert_close(output[patch.mask], initial[patch.mask])
    start = patch.start.clamp(min=_SMALLEST_START)
    fodf_sh = start[..., :N_VERTEX] @ network.to_sh.T
    expected = torch.cat([fodf_sh, start[..., N_VERTEX:]], dim=-1)
    factor = (output[..., :1] / expected[..., :1])[patch.mask]
    torch.testing.assert_close(output[patch.mask], factor * expected[patch.mask])
    assert (factor - 1.0).abs().max() < 0.2  # the floor adds a little everywhere


def test_the_predicted_b0_is_the_measured_one(model: SignalModel) -> None:
    network, patch = tiny_network(model, trained=True), whole(tiny_scan(model, (4, 3, 3)))
    with torch.no_grad():
        output = apply(network, patch)
    predicted = patch.physics.predict_signal(output)[..., :2].mean(dim=-1)
    measured = patch.dwi[..., :2].mean(dim=-1)
    torch.testing.assert_close(predicted[patch.mask], measured[patch.mask], rtol=1e-4, atol=1e-5)


def test_isotropic_tissues_are_never_negative(model: SignalModel) -> None:
    network, patch = tiny_network(model, trained=True), whole(tiny_scan(model, (4, 3, 3)))
    with torch.no_grad():
        output = apply(network, patch)
    assert output[patch.mask][:, model.n_coef :].min() > 0.0


def test_moving_the_voxels_moves_the_fodf(model: SignalModel) -> None:
    network, patch = tiny_network(model, trained=True), whole(tiny_scan(model, (4, 4, 4)))
    n_volume = patch.dwi.shape[-1]
    signal = torch.cat([patch.dwi, patch.start], dim=-1).unsqueeze(0)

    def run(signal: torch.Tensor) -> torch.Tensor:
        moved = replace(patch, dwi=signal[0, ..., :n_volume], start=signal[0, ..., n_volume:])
        return apply(network, moved).unsqueeze(0)

    assert grid_equivariance_error(run, signal) < 1e-5
    assert (run(signal) - apply(tiny_network(model), patch)).abs().max() > 1e-3


def test_bfloat16_changes_little(model: SignalModel) -> None:
    network, patch = tiny_network(model, trained=True), whole(tiny_scan(model, (3, 3, 3)))
    with torch.no_grad():
        exact, rough = apply(network, patch), apply(network, patch, torch.bfloat16)
    assert rough.dtype == torch.float32
    assert (rough - exact).norm() < 0.02 * exact.norm()


def test_rt_esd_with_the_weights_of_shd_gives_the_fodf_of_shd(model: SignalModel) -> None:
    shd, patch = tiny_network(model, trained=True), whole(tiny_scan(model, (4, 3, 3)))
    rt_esd = ShdNetwork(replace(shd.settings, form="sphere"), model.lmax).eval()
    rt_esd.load_state_dict(shd.state_dict(), strict=True)
    with torch.no_grad():
        expected, actual = apply(shd, patch), apply(rt_esd, patch)
    assert (actual - expected).norm() < 1e-4 * expected.norm()


def test_esd_takes_each_voxel_alone(model: SignalModel) -> None:
    patch = whole(tiny_scan(model, (4, 3, 3)))
    settings = replace(tiny_network(model).settings, spatial=False)
    esd = ShdNetwork(settings, model.lmax, torch.Generator().manual_seed(0)).eval()
    for layer in (esd.unet.head, esd.direct):
        torch.nn.init.normal_(layer.spherical_weight)
    dwi, start = (part.clone() for part in (patch.dwi, patch.start))
    dwi[0], start[0] = 0.0, 0.0
    with torch.no_grad():
        first = apply(esd, patch)
        second = apply(esd, replace(patch, dwi=dwi, start=start))
    torch.testing.assert_close(first[1:], second[1:])
    assert (first[0] - second[0]).abs().max() > 1e-3


def test_settings_are_told_as_text() -> None:
    settings = NetworkSettings(
        n_side=4, n_level=3, filters=16, n_order=5, n_shell=2, tissues=("WM", "CSF")
    )
    assert settings.to_metadata() == {
        "n_side": "4",
        "n_level": "3",
        "filters": "16",
        "n_order": "5",
        "n_shell": "2",
        "tissues": "WM+CSF",
        "spatial": "True",
        "form": "commuted",
    }
