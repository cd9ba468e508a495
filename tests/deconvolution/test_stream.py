"""Scans that are visited in turn: all of them, the same way each time, and none held for long."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from deconvolution.job_files import AFFINE, write_scan
from deconvolution.scans import TINY, signal_model, tiny_network

from shd_bids.deconvolution import start, stream
from shd_bids.deconvolution.history import History
from shd_bids.deconvolution.inputs import ScanFiles
from shd_bids.deconvolution.losses import LossWeights
from shd_bids.deconvolution.network import ShdNetwork
from shd_bids.deconvolution.patches import PatchSampler
from shd_bids.deconvolution.stream import MARGIN, ScanReader, ScanStream
from shd_bids.deconvolution.train import train
from shd_bids.errors import MaskError, TrainingError

PRESET = replace(TINY, hidden_parts=2, hidden_views=2, steps=12)


def _reader(network: ShdNetwork | None = None) -> ScanReader:
    return ScanReader(network or tiny_network(signal_model()), PRESET, 100.0, 80.0, 0)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> list[ScanFiles]:
    root = tmp_path_factory.mktemp("scans")
    return [ScanFiles.from_dict(write_scan(root / f"{i}", noise=0.01 * i)) for i in range(12)]


@pytest.fixture(autouse=True)
def _short_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up the start after a few iterations: what is tested here does not depend on it."""
    monkeypatch.setattr(start, "_N_ALONE", 5)
    monkeypatch.setattr(start, "_N_TOGETHER", 5)


@pytest.fixture
def open_stream(scans: list[ScanFiles]) -> Iterator[ScanStream]:
    opened = ScanStream(scans, _reader(), n_step=48)
    yield opened
    opened.close()


def _write_long_scan(folder: Path) -> ScanFiles:
    """Write a scan that is longer than a block, each voxel numbered in its second volume."""
    files = write_scan(folder)
    shape, n_volume = (40, 20, 6), nib.load(files["dwi_file"]).shape[3]
    dwi = np.random.default_rng(0).uniform(100, 900, (*shape, n_volume)).astype(np.float32)
    dwi[..., 1] = 1 + np.arange(np.prod(shape)).reshape(shape)
    for name, data in {"dwi_file": dwi, "mask_file": np.ones(shape, np.uint8)}.items():
        nib.save(nib.Nifti1Image(data, AFFINE), files[name])
    return ScanFiles.from_dict(files)


def test_every_scan_is_visited_once_before_any_is_visited_again(open_stream: ScanStream) -> None:
    turns = [[open_stream.place(12 * turn + visit) for visit in range(12)] for turn in range(2)]
    assert sorted(turns[0]) == sorted(turns[1]) == [*range(12)]
    assert turns[0] != turns[1]


def test_a_few_visits_are_held_and_the_oldest_goes_first(open_stream: ScanStream) -> None:
    before = open_stream.at(0)
    assert open_stream.at(open_stream.stay - 1) is before
    after = open_stream.at(open_stream.stay)
    n_block = len(before) // stream._RESIDENT
    assert len(after) == len(before) == 2 * stream._RESIDENT
    assert [*after[:-n_block]] == [*before[n_block:]]


def test_with_few_steps_all_scans_are_seen_all_the_same(scans: list[ScanFiles]) -> None:
    hurried = ScanStream(scans, _reader(), n_step=14)
    hurried.close()
    assert hurried.stay == 1


def test_patches_lie_where_the_start_knows_its_neighbours(tmp_path: Path) -> None:
    files = _write_long_scan(tmp_path / "long")
    blocks = _reader().read(files, visit=3, n_block=6).prepare(torch.device("cpu"))
    assert any(low == MARGIN for block in blocks for low, _ in block.margin)
    for block in blocks:
        row, inner = block.row, block.inner
        assert [part.stop - part.start for part in inner] == [16, 16, 6]
        allowed = set(row[inner].flatten().tolist())
        drawn = PatchSampler([block], 4, torch.Generator().manual_seed(0)).draw(30)
        assert drawn.mask.all()
        numbers = block.dwi[:, 1]
        known = {float(numbers[number]) for number in allowed}
        assert set(drawn.dwi[..., 1].flatten().tolist()) <= known


def test_a_visit_reads_the_same_blocks_whenever_it_is_made(tmp_path: Path) -> None:
    files = _write_long_scan(tmp_path / "long")
    first, second, other = (
        _reader().read(files, visit, n_block=1).prepare(torch.device("cpu"))[0]
        for visit in (3, 3, 4)
    )
    assert torch.equal(first.dwi, second.dwi)
    assert not torch.equal(first.dwi, other.dwi)
    for view, same in zip(first.views, second.views, strict=True):
        assert torch.equal(view.start, same.start)
        assert torch.equal(view.physics.hidden, same.physics.hidden)


def test_a_scan_that_cannot_be_read_is_left_out_and_named(
    scans: list[ScanFiles], caplog: pytest.LogCaptureFixture
) -> None:
    lost = replace(scans[1], dwi_file=Path("lost.nii.gz"))
    few = ScanStream([scans[0], lost], _reader(), n_step=12)
    assert len(few.at(0)) == stream._RESIDENT  # two blocks of each second visit
    few.close()
    assert few.failed == {1: "There is no file lost.nii.gz."}
    assert caplog.text.count("lost.nii.gz is left out") == 1


def test_a_study_of_which_nothing_can_be_read_is_no_study(scans: list[ScanFiles]) -> None:
    lost = ScanStream([replace(scans[1], dwi_file=Path("lost.nii.gz"))], _reader(), n_step=12)
    with pytest.raises(TrainingError, match=r"None of 1 scans could be used\. There is no file"):
        lost.at(0)
    lost.close()


def test_where_all_present_scans_are_damaged_another_is_visited(scans: list[ScanFiles]) -> None:
    lost = [replace(scans[1], dwi_file=Path(f"lost{number}.nii.gz")) for number in range(20)]
    for own, others in (([*lost, scans[0]], []), (lost[:2], [scans[0]])):
        opened = ScanStream(own, _reader(), n_step=48, others=others)
        present = [opened.at(step) for step in range(0, 48, opened.stay)]
        opened.close()
        assert all(present)


def test_a_mask_of_another_grid_is_refused(scans: list[ScanFiles], tmp_path: Path) -> None:
    other = tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((5, 6, 6), np.uint8), AFFINE), other)
    with pytest.raises(MaskError, match=r"mask\.nii\.gz has the shape \(5, 6, 6\), but .*\(6, 6"):
        _reader().read(replace(scans[0], mask_file=other), visit=0)


def _train(scans: list[ScanFiles], file: Path | None, n_step: int) -> tuple[ShdNetwork, History]:
    network = tiny_network(signal_model())
    opened = ScanStream(scans, _reader(network), PRESET.steps)
    draw = opened.at

    def stop_at(step: int) -> object:
        if step >= n_step:
            raise KeyboardInterrupt
        return draw(step)

    opened.at = stop_at
    options = {"checkpoint_file": file, "checkpoint_seconds": 0.0}
    generator = torch.Generator().manual_seed(0)
    history = train(network, opened, PRESET, weights=LossWeights(), generator=generator, **options)
    opened.close()
    return network, history


def test_a_training_that_was_stopped_ends_as_if_it_had_not_been(
    scans: list[ScanFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_RESIDENT", 2)
    whole, history = _train(scans, None, PRESET.steps)
    file = tmp_path / "training.safetensors"
    with pytest.raises(KeyboardInterrupt):
        _train(scans, file, 7)
    assert file.is_file()
    resumed, continued = _train(scans, file, PRESET.steps)
    assert continued.loss == history.loss
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
