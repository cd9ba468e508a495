"""Training: it lowers the loss, repeats itself, and survives an interruption."""

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from deconvolution.scans import TINY, apply, signal_model, tiny_network, tiny_scan, whole

from shd_bids.deconvolution.history import History
from shd_bids.deconvolution.losses import LossWeights, ShdLoss
from shd_bids.deconvolution.network import ShdNetwork
from shd_bids.deconvolution.patches import MaskedScan, Patch, PatchSampler
from shd_bids.deconvolution.train import train
from shd_bids.errors import TrainingError, WeightsError

MODEL = signal_model()
SCAN = tiny_scan(MODEL)
WEIGHTS = LossWeights()


def _train(
    *,
    scan: MaskedScan = SCAN,
    seed: int = 0,
    checkpoint_file: Path | None = None,
    checkpoint_seconds: float = 0.0,
    **schedule: float,
) -> tuple[ShdNetwork, History]:
    network = tiny_network(MODEL)
    history = train(
        network,
        [scan],
        replace(TINY, **schedule),
        weights=WEIGHTS,
        generator=torch.Generator().manual_seed(seed),
        checkpoint_file=checkpoint_file,
        checkpoint_seconds=checkpoint_seconds,
    )
    return network, history


def _loss_of_the_scan(network: ShdNetwork) -> float:
    patch = whole(SCAN)
    with torch.no_grad():
        terms = ShdLoss(MODEL.lmax, TINY.loss_n_side, WEIGHTS)(apply(network, patch), patch)
    return terms["total"].item()


def _same_weights(first: ShdNetwork, second: ShdNetwork) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


def test_the_loss_falls() -> None:
    network, history = _train(steps=150)
    assert _loss_of_the_scan(network) < 0.99 * _loss_of_the_scan(tiny_network(MODEL))
    assert history.step == [*range(7, 148, 7), 150]
    assert set(history.loss) == {
        "reconstruction",
        "non_negativity",
        "sparsity",
        "total_variation",
        "total",
        "start",
    }
    assert history.n_voxel > 0
    assert history.seconds == sorted(history.seconds)


def test_a_loss_that_explodes_is_undone_with_a_smaller_learning_rate(monkeypatch, caplog) -> None:
    network, calls, draw = tiny_network(MODEL), count(), PatchSampler.draw

    def draw_and_break_once(sampler: PatchSampler, n_patch: int) -> Patch:
        if next(calls) == 30:
            for weight in network.parameters():
                weight.data += 1.0
        return draw(sampler, n_patch)

    monkeypatch.setattr(PatchSampler, "draw", draw_and_break_once)
    history = train(
        network,
        [SCAN],
        replace(TINY, steps=40),
        weights=WEIGHTS,
        generator=torch.Generator().manual_seed(0),
    )
    assert caplog.text.count("goes back to step") == 1
    assert history.step == list(range(2, 41, 2))
    assert max(history.loss["total"]) < 3 * max(history.loss["start"])
    assert _loss_of_the_scan(network) < _loss_of_the_scan(tiny_network(MODEL))


def test_a_loss_that_stays_high_is_refused(monkeypatch) -> None:
    forward = ShdNetwork.forward
    monkeypatch.setattr(ShdNetwork, "forward", lambda *given: 10 * forward(*given))
    with pytest.raises(TrainingError, match=r"from 0\.\d+ before training, however small"):
        _train()


def test_a_loss_that_is_no_number_is_refused() -> None:
    broken = replace(SCAN, dwi=torch.full_like(SCAN.dwi, torch.nan))
    with pytest.raises(TrainingError, match="The loss is nan at step 1"):
        _train(scan=broken)


def test_the_same_seed_gives_the_same_network_and_another_seed_another() -> None:
    first, again, other = (_train(seed=seed)[0] for seed in (0, 0, 1))
    assert _same_weights(first, again)
    assert not _same_weights(first, other)


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, expected_history = _train()
    checkpoint_file = tmp_path / "training.safetensors"
    forward, calls = ShdLoss.forward, []

    def interrupted(*arguments: object) -> dict[str, torch.Tensor]:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return forward(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ShdLoss, "forward", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _train(checkpoint_file=checkpoint_file)
    resumed, history = _train(checkpoint_file=checkpoint_file)
    assert _same_weights(resumed, expected)
    assert history.step == expected_history.step
    assert history.loss == expected_history.loss
    assert history.n_voxel == expected_history.n_voxel


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    checkpoint_file = tmp_path / "training.safetensors"
    network, history = _train(checkpoint_file=checkpoint_file)
    again, again_history = _train(checkpoint_file=checkpoint_file)
    assert _same_weights(again, network)
    assert again_history == history


def test_the_checkpoint_of_another_training_is_refused_with_what_differs(tmp_path: Path) -> None:
    checkpoint_file = tmp_path / "training.safetensors"
    _train(checkpoint_file=checkpoint_file)
    with pytest.raises(WeightsError, match="another training: batch, steps differed"):
        _train(checkpoint_file=checkpoint_file, batch=2, steps=7)
    with pytest.raises(WeightsError, match="another training: random_seed differed"):
        _train(checkpoint_file=checkpoint_file, seed=1)
    other = replace(SCAN, dwi=1.01 * SCAN.dwi)
    with pytest.raises(WeightsError, match="another training: data differed"):
        _train(checkpoint_file=checkpoint_file, scan=other)


def test_a_voxel_does_not_depend_on_its_batch_after_training() -> None:
    network, _ = _train()
    assert not network.training
    alone = whole(SCAN)
    both = SCAN.patch(torch.stack([SCAN.row, SCAN.row.flip(0)]), SCAN.views[0])
    with torch.no_grad():
        torch.testing.assert_close(apply(network, both)[:1], apply(network, alone))


def test_normalisation_stays_as_it_was_calibrated() -> None:
    short, long = (_train(steps=n_step)[0].state_dict() for n_step in (1, 4))
    statistics = [name for name in short if "running" in name]
    assert statistics
    for name in statistics:
        assert torch.equal(short[name], long[name]), name
