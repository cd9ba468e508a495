"""What --weights names, and what the weights say of themselves."""

from pathlib import Path

import pytest
from deconvolution.scans import signal_model, tiny_network

from shd_bids.cli.responses import find_response_files
from shd_bids.cli.weights import find_weights_file, read_preset
from shd_bids.deconvolution.checkpoint import save_weights
from shd_bids.errors import ConfigError, WeightsError


def _write(folder: Path, model: str) -> Path:
    file = folder / f"group_model-{model}_desc-weights_model.safetensors"
    file.write_bytes(b"")
    return file


def test_a_folder_stands_for_the_weights_that_it_holds(tmp_path: Path) -> None:
    file = _write(tmp_path, "shdtv")
    assert find_weights_file(tmp_path) == find_weights_file(file) == file


def test_of_several_weights_those_of_the_model_are_taken(tmp_path: Path) -> None:
    tv, shd = _write(tmp_path, "shdtv"), _write(tmp_path, "shd")
    assert find_weights_file(tmp_path) == tv
    assert find_weights_file(tmp_path, ["csd", "shd"]) == shd


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--weights .* must hold one file .*; found none"):
        find_weights_file(tmp_path)


@pytest.mark.parametrize("flag", ["--weights", "--response"])
@pytest.mark.parametrize("left_over", [False, True])
def test_a_folder_of_several_kinds_is_refused_with_their_names(
    tmp_path: Path, flag: str, left_over: bool
) -> None:
    find = find_weights_file if flag == "--weights" else lambda place: find_response_files([place])
    for kind in ("b0-1000", "b0-1000-2500", *([""] if left_over else [])):
        folder = tmp_path / kind
        folder.mkdir(exist_ok=True)
        _write(folder, "shdtv")
        (folder / "group_param-response_label-WM_dwimap.txt").write_text("")
    with pytest.raises(ConfigError, match=rf"b0-1000, b0-1000-2500.*such as {flag} .*/b0-1000"):
        find(str(tmp_path) if flag == "--response" else tmp_path)
    assert find(tmp_path / "b0-1000" if flag == "--weights" else str(tmp_path / "b0-1000"))


def test_weights_say_which_preset_they_are_of(tmp_path: Path) -> None:
    network = tiny_network(signal_model())
    for preset in ("standard", None):
        save_weights(network, tmp_path / "weights.safetensors", preset)
        assert read_preset(tmp_path / "weights.safetensors") == preset


@pytest.mark.parametrize("content", [b"", b"no weights at all", (3).to_bytes(8, "little") + b"[1]"])
def test_what_is_no_weights_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=r"--weights .* cannot be read as a safetensors file"):
        read_preset(file)
