"""Processes that train together do what one would do with all of their patches."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from deconvolution import ranks
from deconvolution.scans import TINY, signal_model, tiny_network, tiny_scan
from safetensors.torch import load_file

from shd_bids.deconvolution.parallel import Team, join_team
from shd_bids.deconvolution.predict import predict

Tensors = dict[str, torch.Tensor]


def run_together(*arguments: str, n_process: int = 2) -> subprocess.CompletedProcess[str]:
    """Run Python in several processes."""
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(n_process)]
    return subprocess.run(
        [sys.executable, "-m", *torchrun, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Tensors]:
    """Give what each of two processes has found."""
    folder = tmp_path_factory.mktemp("ranks")
    result = run_together(str(Path(ranks.__file__)), str(folder))
    assert result.returncode == 0, result.stderr
    return [load_file(folder / f"rank{rank}.safetensors") for rank in range(2)]


def _of(results: Tensors, kind: str) -> Tensors:
    return {k.split("/", 1)[1]: v for k, v in results.items() if k.startswith(f"{kind}/")}


def test_two_processes_end_with_the_same_weights_and_the_same_prediction(
    results: list[Tensors],
) -> None:
    first, second = results
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_two_processes_have_the_gradient_of_one_with_all_their_patches(
    results: list[Tensors],
) -> None:
    expected = ranks.gradient_of_a_batch(tiny_scan(signal_model()), Team())
    actual = _of(results[0], "gradient")
    largest = max(float(value.abs().max()) for value in expected.values())
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-5, atol=1e-5 * largest)


def test_two_processes_see_other_patches_than_one(results: list[Tensors]) -> None:
    alone = ranks.train_together(tiny_scan(signal_model()), Team(), None).state_dict()
    together = _of(results[0], "trained")
    assert any(not torch.allclose(alone[name], together[name]) for name in alone)


def test_an_interrupted_team_goes_on_as_if_it_had_not_been(results: list[Tensors]) -> None:
    trained, resumed = (_of(results[0], kind) for kind in ("trained", "resumed"))
    assert trained.keys() == resumed.keys()
    for name, value in trained.items():
        assert torch.equal(value, resumed[name]), name


def test_tiles_of_two_processes_give_what_those_of_one_give(results: list[Tensors]) -> None:
    scan, network = tiny_scan(signal_model()), tiny_network(signal_model())
    network.load_state_dict(_of(results[0], "trained"))
    expected = predict(network, scan, TINY)
    torch.testing.assert_close(results[0]["prediction/all"], expected)


def test_a_process_alone_joins_nobody() -> None:
    with join_team("cpu") as team:
        assert team == Team()
        assert not torch.distributed.is_initialized()
    generator = torch.Generator()
    assert team.own_generator(generator) is generator
    assert team.gather(3) == [3]
    assert team.follow(3) == 3


def test_each_process_draws_its_own_patches_and_none_those_of_another_seed() -> None:
    def draws(rank: int, seed: int) -> list[int]:
        generator = Team(rank, 2).own_generator(torch.Generator().manual_seed(seed))
        return torch.randint(2**30, (4,), generator=generator).tolist()

    drawn = [tuple(draws(rank, seed)) for rank in (0, 1) for seed in (0, 1, 2)]
    assert len(set(drawn)) == len(drawn)
    assert draws(1, 2) == draws(1, 2)


@pytest.mark.parametrize(("n_item", "n_process"), [(7, 3), (3, 3), (2, 5), (1, 2)])
def test_every_process_has_a_share_and_every_item_is_in_one(n_item: int, n_process: int) -> None:
    shares = [Team(rank, n_process).share(range(n_item)) for rank in range(n_process)]
    assert {item for part in shares for item in part} == set(range(n_item))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert min(map(len, shares)) >= 1
