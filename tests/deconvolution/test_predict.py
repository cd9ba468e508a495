"""Prediction tile by tile: tiles must not show."""

from dataclasses import replace

import pytest
import torch
from deconvolution.scans import TINY, apply, signal_model, tiny_network, tiny_scan, whole

from shd_bids.deconvolution import predict as predict_module
from shd_bids.deconvolution.predict import predict
from shd_bids.errors import DeviceError

MODEL = signal_model()
NETWORK = tiny_network(MODEL, trained=True)
SCAN = tiny_scan(MODEL, (7, 6, 5))


@pytest.mark.parametrize("tile", [2, 3, 4])
def test_tiles_give_what_one_tile_gives(tile: int) -> None:
    # Two convolutions see two voxels, which is the halo.
    whole = predict(NETWORK, SCAN, replace(TINY, tile=8))
    tiled = predict(NETWORK, SCAN, replace(TINY, tile=tile))
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=1e-4)


def test_the_inside_is_what_the_network_gives_at_once() -> None:
    with torch.no_grad():
        direct = apply(NETWORK, whole(SCAN))[0]
    tiled = predict(NETWORK, SCAN, replace(TINY, tile=3))
    inside = (slice(2, -2),) * 3
    assert SCAN.mask[inside].all()
    tiled_inside = tiled[SCAN.row[inside] - 1]
    torch.testing.assert_close(tiled_inside, direct[inside], atol=1e-5, rtol=1e-4)


def test_there_is_something_in_every_voxel_of_the_mask() -> None:
    result = predict(NETWORK, SCAN, TINY)
    assert result.shape == (int(SCAN.mask.sum()), MODEL.kernel.shape[1])
    assert (result[:, 0] > 0).all()


def test_tiles_are_halved_when_the_memory_does_not_suffice(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = predict(NETWORK, SCAN, TINY)
    original = predict_module._predict_tiles

    def limited(network, scan, tile, *rest):
        if tile > 3:
            raise torch.cuda.OutOfMemoryError
        return original(network, scan, tile, *rest)

    monkeypatch.setattr(predict_module, "_predict_tiles", limited)
    torch.testing.assert_close(predict(NETWORK, SCAN, TINY), expected, atol=1e-5, rtol=1e-4)
    assert "going on with tiles of 3 voxels" in caplog.text


def test_too_small_a_card_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(predict_module, "_predict_tiles", full)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**31))
    with pytest.raises(DeviceError, match=r"1\.0 of 2\.0 GiB are free"):
        predict(NETWORK, SCAN, TINY)
