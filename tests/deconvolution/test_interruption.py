"""A training that is ended from outside loses nothing."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from deconvolution.job_files import write_job
from deconvolution.scans import TINY, signal_model, tiny_network, tiny_scan
from safetensors.torch import load_file

from shd_bids.deconvolution.gradient import BatchGradient
from shd_bids.deconvolution.history import History
from shd_bids.deconvolution.interruption import EXIT_CODE, on_termination
from shd_bids.deconvolution.losses import LossWeights
from shd_bids.deconvolution.network import ShdNetwork
from shd_bids.deconvolution.presets import Preset
from shd_bids.deconvolution.train import train

#: Starts a process that ends with it.
PARENT = """
import subprocess, sys
child = (
    "import os, time; from shd_bids.deconvolution.interruption import end_with_parent;"
    "end_with_parent(); print(os.getpid(), flush=True); time.sleep(60)"
)
subprocess.run([sys.executable, "-c", child])
"""
N_STEP = 99
N_LONG = 41  # a record every other step
N_KILL = 3
#: ``python -m shd_bids.deconvolution``, with the network of the tests.
PROGRAM = """
import sys
from deconvolution.scans import TINY
from shd_bids.deconvolution import train
from shd_bids.deconvolution.__main__ import main
from shd_bids.deconvolution.presets import PRESETS
PRESETS["fast"] = TINY
train._STEPS_OF_RECORD = 1
sys.exit(main())
"""


def _start(job_file: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(job_file)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
    )


def _wait_for_checkpoints(process: subprocess.Popen[bytes], file: Path, n_checkpoint: int) -> None:
    """Wait until a file has been replaced so many times."""

    def stamp() -> int:
        return file.stat().st_mtime_ns if file.exists() else 0

    last = stamp()
    while n_checkpoint:
        assert process.poll() is None, "the training ended too early"
        time.sleep(0.001)
        if (now := stamp()) != last:
            last, n_checkpoint = now, n_checkpoint - 1


def test_a_training_killed_three_times_ends_as_one_that_was_not(tmp_path: Path) -> None:
    options = {"n_step": N_STEP, "checkpoint_seconds": 0.0}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert _start(write_job(_folder(whole), **options)).wait() == 0
    job_file = write_job(_folder(broken), **options)
    chance = random.Random(0)
    for _ in range(N_KILL):
        process = _start(job_file)
        checkpoint_file = broken / "checkpoint" / "training.safetensors"
        # Some are replaced before they are seen, so that half of them are left as a reserve.
        n_checkpoint = chance.randint(1, N_STEP // N_KILL // 2)
        _wait_for_checkpoints(process, checkpoint_file, n_checkpoint)
        time.sleep(chance.uniform(0.0, 0.03))  # anywhere in a step
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert _start(job_file).wait() == 0
    expected, actual = (
        json.loads((folder / "out" / "history.json").read_text()) for folder in (whole, broken)
    )
    assert actual["step"] == expected["step"] == list(range(1, N_STEP + 1))
    assert actual["loss"] == expected["loss"]
    weights, other = (
        load_file(folder / "out" / "weights.safetensors") for folder in (whole, broken)
    )
    assert weights.keys() == other.keys()
    for name, value in weights.items():
        assert torch.equal(value, other[name]), name
    assert [file.name for file in (broken / "checkpoint").iterdir()] == ["training.safetensors"]


def _folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _train(
    checkpoint_file: Path | None = None, preset: Preset = TINY, checkpoint_seconds: float = 1e9
) -> tuple[ShdNetwork, History]:
    model = signal_model()
    network = tiny_network(model)
    history = train(
        network,
        [tiny_scan(model)],
        preset,
        weights=LossWeights(),
        generator=torch.Generator().manual_seed(0),
        checkpoint_file=checkpoint_file,
        checkpoint_seconds=checkpoint_seconds,
    )
    return network, history


def test_a_training_that_is_asked_to_end_saves_itself_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network, history = _train()
    call, calls = BatchGradient.__call__, []

    def terminated(*arguments: object) -> dict[str, torch.Tensor]:
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return call(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(BatchGradient, "__call__", terminated)
        with pytest.raises(SystemExit) as end:
            _train(tmp_path / "training.safetensors")
    assert end.value.code == EXIT_CODE == 143
    assert "the training is saved up to step 4" in caplog.text  # with the one under way
    resumed, resumed_history = _train(tmp_path / "training.safetensors")
    assert resumed_history.loss == history.loss
    for name, value in network.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.parametrize("last", [5, N_LONG])
def test_no_step_is_lost_between_two_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    """Sums of the loss that no record holds yet are saved, too."""
    file, preset = tmp_path / "training.safetensors", replace(TINY, steps=N_LONG)
    network, history = _train(preset=preset)
    assert len(history.step) < N_LONG
    call, calls = BatchGradient.__call__, []

    def terminated(*arguments: object) -> dict[str, torch.Tensor]:
        calls.append(1)
        if len(calls) == last:
            os.kill(os.getpid(), signal.SIGTERM)
        return call(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(BatchGradient, "__call__", terminated)
        with pytest.raises(SystemExit):
            _train(file, preset)
        resumed, resumed_history = _train(file, preset)
    assert len(calls) == N_LONG
    assert (resumed_history.step, resumed_history.loss) == (history.step, history.loss)
    for name, value in network.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_signal_while_a_checkpoint_is_written_leaves_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, sync = tmp_path / "training.safetensors", os.fsync

    def terminated(descriptor: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", terminated)
        with pytest.raises(SystemExit):
            _train(file, checkpoint_seconds=0.0)
    network, history = _train(file)
    assert len(history.step) == TINY.steps
    for name, value in _train()[0].state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name


def test_afterwards_signals_are_heard_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with on_termination(lambda: None):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_thread_cannot_listen_and_does_not_fail() -> None:
    failures = []

    def listen() -> None:
        try:
            with on_termination(lambda: None):
                pass
        except ValueError as error:
            failures.append(error)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert not failures


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ties the ends of processes")
def test_a_process_of_torchrun_ends_with_it() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline().strip().isdigit()
    killed = time.monotonic()
    parent.kill()
    parent.wait()
    assert parent.stdout.read() == ""  # not before the child has closed its end, too
    parent.stdout.close()
    assert time.monotonic() - killed < 30  # of the 60 that the child sleeps
