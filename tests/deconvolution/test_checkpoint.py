"""Checkpoints and weights: what is saved comes back, and what does not fit is refused."""

from pathlib import Path

import pytest
import torch
from deconvolution.scans import signal_model, tiny_network

from shd_bids.deconvolution import checkpoint
from shd_bids.deconvolution.checkpoint import (
    load_checkpoint,
    load_weights,
    read_settings,
    save_checkpoint,
    save_weights,
)
from shd_bids.errors import WeightsError

MODEL = signal_model()


def test_a_nested_state_comes_back_as_it_was(tmp_path: Path) -> None:
    state = {
        "weights": {"a": torch.arange(3.0), "b": torch.tensor(2, dtype=torch.int64)},
        "state": {0: {"step": torch.tensor(1.5)}, 1: {"step": torch.tensor(2.5)}},
        "groups": [{"lr": 1e-3, "betas": [0.9, 0.99], "foreach": None, "amsgrad": False}],
        "random": torch.Generator().get_state(),
        "text": "cos",
    }
    file = tmp_path / "deep" / "state.safetensors"
    save_checkpoint(state, file)
    restored = load_checkpoint(file)
    assert restored is not None
    torch.testing.assert_close(restored["weights"], state["weights"])
    assert list(restored["state"]) == [0, 1]
    torch.testing.assert_close(restored["state"], state["state"])
    assert restored["groups"] == state["groups"]
    assert torch.equal(restored["random"], state["random"])
    assert restored["text"] == "cos"
    assert [path.name for path in file.parent.iterdir()] == ["state.safetensors"]


def test_the_state_of_an_optimiser_goes_on_after_the_round_trip(tmp_path: Path) -> None:
    def step(weight: torch.nn.Parameter, optimiser: torch.optim.Optimizer) -> None:
        weight.grad = torch.cos(weight.detach())
        optimiser.step()

    weight = torch.nn.Parameter(torch.arange(3.0))
    optimiser = torch.optim.AdamW([weight], lr=0.1)
    step(weight, optimiser)
    save_checkpoint({"weight": weight, "optimiser": optimiser.state_dict()}, tmp_path / "state")
    state = load_checkpoint(tmp_path / "state")
    assert state is not None
    other = torch.nn.Parameter(state["weight"].clone())
    other_optimiser = torch.optim.AdamW([other], lr=0.1)
    other_optimiser.load_state_dict(state["optimiser"])
    step(weight, optimiser)
    step(other, other_optimiser)
    assert torch.equal(weight, other)


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "absent") is None


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "state.safetensors"
    save_checkpoint({"a": torch.zeros(100)}, file)
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(WeightsError, match=r"state\.safetensors cannot be read"):
        load_checkpoint(file)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    file = tmp_path / "state.pt"
    torch.save({"a": torch.zeros(3)}, file)
    for load in (load_checkpoint, read_settings):
        with pytest.raises(WeightsError, match="cannot be read as a safetensors file"):
            load(file)
    with pytest.raises(TypeError):
        save_checkpoint({"code": print}, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_checkpoint_of_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "__version__", "0.0.0.other")
        save_checkpoint({"a": torch.zeros(1)}, file)
    with pytest.raises(WeightsError, match=r"checkpoint of shd-bids 0\.0\.0\.other.*--clean-work"):
        load_checkpoint(file)


def test_weights_come_back_with_their_settings(tmp_path: Path) -> None:
    network, other = tiny_network(MODEL, trained=True), tiny_network(MODEL, seed=1)
    file = tmp_path / "weights.safetensors"
    save_weights(network, file)
    assert read_settings(file) == network.settings
    load_weights(other, file)
    torch.testing.assert_close(other.state_dict(), network.state_dict())


def test_weights_of_other_shells_are_refused_with_the_difference(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_weights(tiny_network(MODEL), file)
    other = tiny_network(signal_model(bvals=(1000.0, 2500.0)))
    with pytest.raises(WeightsError, match="n_shell is 2, needed 3"):
        load_weights(other, file)


def test_a_checkpoint_is_not_taken_for_weights(tmp_path: Path) -> None:
    file = tmp_path / "state.safetensors"
    save_checkpoint({"a": torch.zeros(1)}, file)
    with pytest.raises(WeightsError, match="was not written by shd-bids"):
        read_settings(file)
    with pytest.raises(WeightsError, match="n_side is missing, needed 2"):
        load_weights(tiny_network(MODEL), file)


def test_absent_weights_are_told_with_their_path(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="absent"):
        load_weights(tiny_network(MODEL), tmp_path / "absent")
