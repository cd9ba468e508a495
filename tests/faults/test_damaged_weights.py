"""Weights, checkpoints and responses that are damaged are refused at the start, or made again."""

import json
import pickle
import struct

import numpy as np
import pytest
import torch
from deconvolution.job_files import write_job, write_scan
from deconvolution.scans import TINY, signal_model, tiny_network
from safetensors.torch import load_file, save_file
from shd_workflows.given_plan import check_given

from shd_bids.cli.parser import parse_arguments
from shd_bids.cli.resources import resolve_resources
from shd_bids.cli.run import main
from shd_bids.config import DeconvConfig, ExecutionConfig, ResponseConfig, RunConfig
from shd_bids.deconvolution import presets
from shd_bids.deconvolution.checkpoint import load_weights, save_weights
from shd_bids.deconvolution.job import Job, run_job
from shd_bids.errors import ResponseError, WeightsError

MODEL = signal_model()


@pytest.fixture
def weights_file(tmp_path):
    file = tmp_path / "weights.safetensors"
    save_weights(tiny_network(MODEL, trained=True), file, "fast")
    return file


def _flip_a_tensor_bit(content: bytes) -> bytes:
    return content[:-5] + bytes([content[-5] ^ 16]) + content[-4:]


def _change_the_text(content: bytes) -> bytes:
    return content.replace(b'"n_level":"1"', b'"n_level":"2"')


DAMAGES = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[:-100],
    "truncated head": lambda content: content[:50],
    "zeros": lambda content: bytes(len(content)),
    "a pickle": lambda content: pickle.dumps({"a": 1}),
    "a huge head": lambda content: struct.pack("<Q", 2**60) + content[8:],
    "a bit of a tensor": _flip_a_tensor_bit,
    "a changed text": _change_the_text,
    "text": lambda content: b"these are no weights",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_are_refused_before_anything_runs(
    make_skeleton, tmp_path, weights_file, damage, capsys
):
    weights_file.write_bytes(DAMAGES[damage](weights_file.read_bytes()))
    out = tmp_path / "out"
    call = [str(make_skeleton({"01": ["sub-01"]})), str(out), "participant", "-w"]
    assert main([*call, str(tmp_path / "w"), "--weights", str(weights_file)]) == 2
    said = capsys.readouterr().err
    assert f"--weights {weights_file}" in said
    assert "Traceback" not in said
    assert not out.exists()


@pytest.mark.parametrize("change", ["no text", "NaN", "another program's"])
def test_weights_that_no_training_of_ours_gives_are_refused(weights_file, change):
    tensors, text = load_file(weights_file), json.loads(_head(weights_file))["__metadata__"]
    text.pop("digest")
    if change == "no text":
        text = None
    elif change == "NaN":
        next(one for one in tensors.values() if one.is_floating_point()).view(-1)[0] = np.nan
    else:
        text = {"format": "pt"}
    save_file(tensors, weights_file, text)
    words = "NaN or infinite" if change == "NaN" else "was not written by shd-bids"
    with pytest.raises(WeightsError, match=words):
        _resolve(weights_file)


def _head(file) -> bytes:
    content = file.read_bytes()
    return content[8 : 8 + struct.unpack("<Q", content[:8])[0]]


def _resolve(weights_file, **settings):
    folder = weights_file.parent
    (folder / "in").mkdir(exist_ok=True)
    config = RunConfig(
        ExecutionConfig(folder / "in", folder / "out", work_dir=folder / "w"),
        deconv=DeconvConfig(weights=weights_file, device="cpu", **settings),
    )
    return resolve_resources(config)[0]


def test_tensors_of_another_shape_than_the_text_says_are_told_in_words(weights_file):
    tensors, text = load_file(weights_file), json.loads(_head(weights_file))["__metadata__"]
    text.pop("digest")
    name = next(iter(tensors))
    tensors[name] = torch.zeros(3, 3)
    save_file(tensors, weights_file, text)
    with pytest.raises(WeightsError, match=rf"do not fit the network that they say.*{name}"):
        load_weights(tiny_network(MODEL), weights_file)


def test_weights_of_other_shells_or_another_model_are_refused_when_the_series_is_planned(
    weights_file, monkeypatch
):
    monkeypatch.setitem(presets.PRESETS, "fast", TINY)
    config = _resolve(weights_file)
    check_given(config, ["shd-tv", "csd"], [0.0, 1000.0])
    with pytest.raises(WeightsError, match="n_shell is 2, needed 3"):
        check_given(config, ["shd-tv"], [0.0, 1000.0, 2500.0])
    with pytest.raises(WeightsError, match="spatial is True, needed False"):
        check_given(config, ["esd"], [0.0, 1000.0])
    check_given(config, ["csd"], [0.0, 1000.0, 2500.0])  # which has no network
    monkeypatch.undo()
    with pytest.raises(WeightsError, match=r"filters is 2, needed 16.*--shd-preset"):
        check_given(config, ["shd-tv"], [0.0, 1000.0])


@pytest.mark.parametrize("content", [b"", b"\0" * 30, b"a b\n1 2\n", b"# Shells: 0\n3000\n"])
def test_a_damaged_response_is_refused_when_the_series_is_planned(tmp_path, content):
    file = tmp_path / "wm.txt"
    file.write_bytes(content)
    (tmp_path / "in").mkdir()
    config = RunConfig(
        ExecutionConfig(tmp_path / "in", tmp_path / "out", work_dir=tmp_path / "w"),
        response=ResponseConfig(files={"WM": file}),
    )
    with pytest.raises(ResponseError, match=r"wm\.txt"):
        check_given(config, ["csd"], [0.0, 1000.0])


@pytest.mark.parametrize("damage", ["empty", "truncated", "a bit of a tensor"])
def test_a_training_starts_anew_where_its_checkpoint_is_damaged(
    tmp_path, monkeypatch, caplog, damage
):
    monkeypatch.setitem(presets.PRESETS, "fast", TINY)
    job = Job.from_file(write_job(tmp_path, checkpoint_seconds=0.0))
    run_job(job)
    weights_file = tmp_path / "out/weights.safetensors"
    expected = load_file(weights_file)
    (file,) = (tmp_path / "checkpoint").glob("*.safetensors")
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    run_job(job)
    assert "The training starts anew: the checkpoint is damaged" in caplog.text
    torch.testing.assert_close(load_file(weights_file), expected, rtol=0, atol=0)


def test_the_training_of_a_study_starts_anew_where_its_checkpoint_is_damaged(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setitem(presets.PRESETS, "fast", TINY)
    scans = [write_scan(tmp_path / "second")]
    job = Job.from_file(write_job(tmp_path, scans=scans, checkpoint_seconds=0.0))
    run_job(job)
    expected = load_file(tmp_path / "out/weights.safetensors")
    (file,) = (tmp_path / "checkpoint").glob("*.safetensors")
    file.write_bytes(_flip_a_tensor_bit(file.read_bytes()))
    run_job(job)
    assert "The training starts anew" in caplog.text
    torch.testing.assert_close(
        load_file(tmp_path / "out/weights.safetensors"), expected, rtol=0, atol=0
    )


def test_weights_in_a_configuration_file_are_looked_at_too(make_skeleton, tmp_path, weights_file):
    weights_file.write_bytes(b"")
    (tmp_path / "run.toml").write_text(f'[deconv]\nweights = "{weights_file}"\n')
    call = [str(make_skeleton({"01": ["sub-01"]})), str(tmp_path / "out"), "participant", "-w"]
    call += [str(tmp_path / "w"), "--config-file", str(tmp_path / "run.toml")]
    assert parse_arguments(call).deconv.weights == weights_file
    assert main(call) == 2
