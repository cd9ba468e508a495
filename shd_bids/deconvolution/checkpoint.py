"""Checkpoints to go on from, and weights to keep.

Both are safetensors files, which hold tensors and text and cannot run code.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast, get_args

import torch
from safetensors import safe_open
from safetensors.torch import save

from shd_bids import __version__
from shd_bids.bids.space import explain_write_error
from shd_bids.errors import OutputError, WeightsError

from .forms import Form
from .network import NetworkSettings, ShdNetwork
from .tensor_file import DIGEST, list_differences, read_text, tensor_digest
from .unet import NetworkForm

_TENSOR = "__tensor__"
_FORMS = (*get_args(Form), "commuted")


def _flatten(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Move the tensors of a nested state to ``tensors``, leaving JSON with their names."""
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().cpu().clone().contiguous()  # the file shares no memory
        return {_TENSOR: name}
    if isinstance(value, dict):
        # JSON has no integer keys, and an optimiser's state has nothing else.
        return {
            "dict": [[key, _flatten(item, f"{name}/{key}", tensors)] for key, item in value.items()]
        }
    if isinstance(value, list | tuple):
        return {"list": [_flatten(item, f"{name}/{i}", tensors) for i, item in enumerate(value)]}
    return value


def _restore(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    if _TENSOR in value:
        return tensors[value[_TENSOR]]
    if "dict" in value:
        return {key: _restore(item, tensors) for key, item in value["dict"]}
    return [_restore(item, tensors) for item in value["list"]]


def _write(tensors: dict[str, torch.Tensor], metadata: dict[str, str], file: Path) -> None:
    digest = tensor_digest(save(tensors, metadata))
    content = save(tensors, metadata | {DIGEST: digest})
    # Always the same name: a process that is killed here leaves one file, which the next replaces.
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())  # no loss of power leaves an empty file under its name
        temporary.replace(file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise OutputError(
            f"Cannot write {file}: {explain_write_error(error, file.parent)}"
        ) from error


def _read(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    text = read_text(file)
    with safe_open(file, framework="pt") as content:
        return {name: content.get_tensor(name) for name in content.keys()}, text  # noqa: SIM118  # not a dict


def save_checkpoint(
    state: dict[str, Any], file: Path, settings: Mapping[str, Any] | None = None
) -> None:
    """Save a nested state of tensors and plain values; the file appears whole or not at all.

    Parameters
    ----------
    state
        What to save.
    file
        Replaced.
    settings
        What the state belongs to, in plain values.
    """
    tensors: dict[str, torch.Tensor] = {}
    tree = _flatten(state, "state", tensors)
    metadata = {"tree": json.dumps(tree), "settings": json.dumps(settings or {})}
    _write(tensors, metadata | {"version": __version__}, file)


def load_checkpoint(file: Path, settings: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """Load what ``save_checkpoint`` saved; None if there is no such file.

    Raises
    ------
    WeightsError
        If the file is of another version or saved with other settings; if it is damaged, the
        subclass DamagedFileError.
    """
    if not file.is_file():
        return None
    tensors, metadata = _read(file)
    if metadata.get("version") != __version__ or "tree" not in metadata:
        raise WeightsError(
            f"{file} is a checkpoint of shd-bids {metadata.get('version', 'unknown')}, this is "
            f"{__version__}. Delete it, or use --clean-workdir, to start the training again."
        )
    found, expected = (
        json.loads(metadata.get("settings", "{}")),
        json.loads(json.dumps(settings or {})),
    )
    if differing := sorted(key for key in found | expected if found.get(key) != expected.get(key)):
        raise WeightsError(
            f"{file} is the checkpoint of another training: {', '.join(differing)} differed. "
            "Delete it, or use --clean-workdir, to start the training again."
        )
    restored: dict[str, Any] = _restore(json.loads(metadata["tree"]), tensors)
    return restored


def save_weights(network: ShdNetwork, file: Path, preset: str | None = None) -> None:
    """Save the weights with the settings they belong to, and the name of their preset."""
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    named = {"preset": preset} if preset else {}
    _write(tensors, network.settings.to_metadata() | named | {"version": __version__}, file)


def load_weights(network: ShdNetwork, file: Path) -> None:
    """Load weights into a network.

    Raises
    ------
    WeightsError
        If the file is damaged or belongs to another architecture or acquisition.
    """
    tensors, metadata = _read(file)
    expected = network.settings.to_metadata()
    if differing := list_differences(metadata, expected):
        raise WeightsError(
            f"The weights in {file} do not fit this run: {'; '.join(differing)}. "
            "Choose the --shd-preset they were trained with and data with the same shells."
        )
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:  # lists tensors that are missing or of another shape
        said = " ".join(str(error).split())
        raise WeightsError(
            f"The weights in {file} do not fit the network that they say they are of: {said} "
            "Give a file that shd-bids wrote."
        ) from error


def read_settings(file: Path) -> NetworkSettings:
    """Read the settings that the weights in a file belong to.

    Raises
    ------
    WeightsError
        If the file is damaged or was not written by ``save_weights``.
    """
    _, metadata = _read(file)
    try:
        if metadata["form"] not in _FORMS:
            raise ValueError(f"the form {metadata['form'][:40]!r}, one of {', '.join(_FORMS)},")
        return NetworkSettings(
            n_side=int(metadata["n_side"]),
            n_level=int(metadata["n_level"]),
            filters=int(metadata["filters"]),
            n_order=int(metadata["n_order"]),
            n_shell=int(metadata["n_shell"]),
            tissues=tuple(metadata["tissues"].split("+")),
            spatial=metadata["spatial"] == "True",
            form=cast(NetworkForm, metadata["form"]),
        )
    except (KeyError, ValueError) as error:
        raise WeightsError(
            f"{file} was not written by shd-bids: {str(error)[:200]} is missing or no setting of a "
            "network. Give a file *_desc-weights_model.safetensors of an earlier run."
        ) from error
