"""What each of two processes does together with the other, for ``test_parallel.py``.

``torchrun --nproc-per-node 2 ranks.py FOLDER`` writes one file a process.
"""

import sys
from pathlib import Path
from unittest import mock

import torch
from deconvolution.scans import TINY, signal_model, tiny_network, tiny_scan
from safetensors.torch import save_file

from shd_bids.deconvolution.gradient import BatchGradient
from shd_bids.deconvolution.losses import LossWeights, ShdLoss
from shd_bids.deconvolution.network import ShdNetwork
from shd_bids.deconvolution.parallel import Team, end_process, join_team
from shd_bids.deconvolution.patches import MaskedScan, PatchSampler
from shd_bids.deconvolution.predict import predict
from shd_bids.deconvolution.train import train

STOP_AT_STEP = 4


def gradient_of_a_batch(scan: MaskedScan, team: Team) -> dict[str, torch.Tensor]:
    """Give the gradients of one batch, of which each process has its part."""
    model = signal_model()
    network = tiny_network(model, trained=True)
    batch = PatchSampler([scan], TINY.patch, torch.Generator().manual_seed(3)).draw(TINY.batch)
    criterion = ShdLoss(model.lmax, TINY.loss_n_side, LossWeights())
    gradient = BatchGradient(network, criterion, torch.float32, team, weight=1.0)
    gradient(batch.split(team.size)[team.rank])
    return {name: weight.grad for name, weight in network.named_parameters()}


def train_together(scan: MaskedScan, team: Team, checkpoint_file: Path | None) -> ShdNetwork:
    """Train the tiny network."""
    network = tiny_network(signal_model())
    train(
        network,
        [scan],
        TINY,
        weights=LossWeights(),
        generator=torch.Generator().manual_seed(0),
        checkpoint_file=checkpoint_file,
        checkpoint_seconds=0.0,
        team=team,
    )
    return network


def _train_with_interruption(scan: MaskedScan, team: Team, checkpoint_file: Path) -> ShdNetwork:
    call, calls = BatchGradient.__call__, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == STOP_AT_STEP:
            raise KeyboardInterrupt
        return call(*arguments)

    try:
        with mock.patch.object(BatchGradient, "__call__", interrupted):
            train_together(scan, team, checkpoint_file)
    except KeyboardInterrupt:
        team.gather(None)  # the first process has saved
    return train_together(scan, team, checkpoint_file)


def main(folder: Path) -> None:
    """Run every exercise and keep what came out."""
    torch.set_num_threads(1)
    scan = tiny_scan(signal_model())
    with join_team("cpu") as team:
        trained = train_together(scan, team, None)
        resumed = _train_with_interruption(scan, team, folder / "training.safetensors")
        results = {
            "gradient": gradient_of_a_batch(scan, team),
            "trained": trained.state_dict(),
            "resumed": resumed.state_dict(),
            "prediction": {"all": predict(trained, scan, TINY, team=team)},
        }
    tensors = {f"{kind}/{k}": v for kind, part in results.items() for k, v in part.items()}
    save_file(tensors, folder / f"rank{team.rank}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    end_process(0)
