"""The gradient of a batch does not depend on what the batch is cut in."""

import pytest
import torch
from deconvolution.scans import TINY, signal_model, tiny_network, tiny_scan

from shd_bids.deconvolution.gradient import BatchGradient
from shd_bids.deconvolution.losses import LossWeights, ShdLoss
from shd_bids.deconvolution.network import ShdNetwork
from shd_bids.deconvolution.parallel import Team
from shd_bids.deconvolution.patches import Patch, PatchSampler
from shd_bids.errors import DeviceError

MODEL = signal_model()
SCAN = tiny_scan(MODEL)


def _batch() -> Patch:
    return PatchSampler([SCAN], TINY.patch, torch.Generator().manual_seed(1)).draw(TINY.batch)


def _gradient() -> BatchGradient:
    criterion = ShdLoss(MODEL.lmax, TINY.loss_n_side, LossWeights())
    network = tiny_network(MODEL, trained=True)
    return BatchGradient(network, criterion, torch.float32, Team(), weight=1.0)


def _limit_memory(monkeypatch: pytest.MonkeyPatch, n_patch: int) -> None:
    forward = ShdNetwork.forward

    def limited(network: ShdNetwork, physics, dwi, *rest):
        if len(dwi) > n_patch:
            raise torch.cuda.OutOfMemoryError
        return forward(network, physics, dwi, *rest)

    monkeypatch.setattr(ShdNetwork, "forward", limited)


def _flat(gradient: BatchGradient) -> torch.Tensor:
    return torch.cat([weight.grad.flatten() for weight in gradient.network.parameters()])


@pytest.mark.parametrize("n_fitting", [1, 2, 3])
def test_a_batch_is_cut_when_the_memory_does_not_suffice_and_gives_the_same(
    n_fitting: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, cut = _gradient(), _gradient()
    expected = whole(_batch())
    _limit_memory(monkeypatch, n_fitting)
    for _ in range(2):
        sums = cut(_batch())
    n_part = {1: 4, 2: 2, 3: 2}[n_fitting]
    assert f"going on with {n_part} parts of a batch" in caplog.text
    assert caplog.text.count("ran out of memory") == {4: 2, 2: 1}[n_part]  # not again
    torch.testing.assert_close(sums, expected, rtol=1e-5, atol=1e-5)
    largest = float(_flat(whole).abs().max())
    torch.testing.assert_close(_flat(cut), _flat(whole), rtol=1e-5, atol=1e-6 * largest)


def test_the_patches_of_the_test_differ_in_their_share_of_the_mask() -> None:
    assert len(set(_batch().mask.sum(dim=(1, 2, 3)).tolist())) > 1


def test_a_card_that_holds_no_patch_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    _limit_memory(monkeypatch, 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**31))
    with pytest.raises(DeviceError, match=r"one patch of 4 voxels: 1\.0 of 2\.0 GiB are free"):
        _gradient()(_batch())
