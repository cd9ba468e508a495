"""The state of a training: where it goes back to, and how it goes on."""

from pathlib import Path

import pytest
import torch
from deconvolution.scans import signal_model, tiny_network

from shd_bids.deconvolution.parallel import Team
from shd_bids.deconvolution.state import TrainingState
from shd_bids.errors import TrainingError, WeightsError

RATE = 1e-3
MODEL = signal_model()
EXPLODED = {"total": 9.0, "start": 1.0}


def _start() -> TrainingState:
    network = tiny_network(MODEL, trained=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=20)
    generator = torch.Generator().manual_seed(0)
    return TrainingState(network, optimiser, schedule, generator, Team())


def _step(training: TrainingState, n_step: int = 1) -> None:
    """Take some steps, each kept, along gradients that the generator draws."""
    for _ in range(n_step):
        for weight in training.network.parameters():
            weight.grad = torch.randn(weight.shape, generator=training.generator)
        training.optimiser.step()
        training.schedule.step()
        training.step += 1
        training.remember()


def _weights(training: TrainingState) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in training.network.parameters()])


def _largest_rate(training: TrainingState) -> float:
    return training.optimiser.param_groups[0]["max_lr"]


def test_an_explosion_is_undone_to_the_last_state_but_one() -> None:
    training = _start()
    training.remember()
    _step(training, 3)
    expected = _weights(training)
    _step(training)
    training.undo(EXPLODED)
    assert training.step == 3
    assert torch.equal(_weights(training), expected)


def test_a_second_return_to_a_state_is_one_to_the_beginning() -> None:
    training = _start()
    training.remember()
    beginning = _weights(training)
    _step(training, 4)
    steps = []
    for _ in range(3):
        training.undo(EXPLODED)
        steps.append(training.step)
    assert steps == [3, 0, 0]
    assert torch.equal(_weights(training), beginning)


def test_the_learning_rate_is_halved_for_every_return() -> None:
    training = _start()
    training.remember()
    _step(training, 4)
    for n_return in range(1, 4):
        training.undo(EXPLODED)
        assert _largest_rate(training) == pytest.approx(RATE * 0.5**n_return)


def test_other_patches_are_drawn_after_a_return() -> None:
    training = _start()
    training.remember()
    _step(training, 2)
    drawn = training.generator.get_state()
    training.undo(EXPLODED)
    assert torch.equal(training.generator.get_state(), drawn)


def test_what_explodes_however_often_it_is_undone_is_refused() -> None:
    training = _start()
    training.remember()
    for _ in range(10):
        training.undo(EXPLODED)
    with pytest.raises(TrainingError, match="The loss is 9 at step 0, from 1 before training"):
        training.undo(EXPLODED)


def test_a_saved_state_goes_on_where_it_was(tmp_path: Path) -> None:
    file, settings = tmp_path / "training.safetensors", {"steps": 9}
    training = _start()
    training.remember()
    _step(training, 4)
    training.undo(EXPLODED)
    training.save(file, settings)
    resumed = _start()
    assert resumed.resume(file, settings)
    assert (resumed.step, resumed.n_return, resumed.returned_to) == (3, 1, 3)
    assert _largest_rate(resumed) == pytest.approx(RATE / 2)
    for state in (training, resumed):
        _step(state, 2)
        state.undo(EXPLODED)
    assert torch.equal(_weights(resumed), _weights(training))
    with pytest.raises(WeightsError, match="steps differed"):
        _start().resume(file, {"steps": 10})


def test_without_a_file_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert not _start().resume(None, {})
    assert not _start().resume(tmp_path / "absent.safetensors", {})
