"""The whole network: it starts at the start, keeps b=0, and turns with the grid."""

from dataclasses import replace

import pytest
import torch
from deconvolution.scans import apply, signal_model, tiny_network, tiny_scan, whole

from shd_bids.deconvolution.forward import SignalModel
from shd_bids.deconvolution.network import _SMALLEST_START, NetworkSettings
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
    }
