"""What `--weights` names: a file of network weights, or a folder that holds it.

The head of a safetensors file is JSON behind its length, so that torch need not be imported here.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from shd_bids.config import SHD_MODELS
from shd_bids.errors import ConfigError, WeightsError

from .kinds import check_one_kind

_PATTERN = "*desc-weights_model.safetensors"
_LARGEST_HEAD = 100_000_000  # bytes; what safetensors itself allows


def find_weights_file(place: Path, models: Sequence[str] = ()) -> Path:
    """Find the weights in a folder; a file is taken as it is.

    Parameters
    ----------
    place
        As given on the command line.
    models
        Models asked for: their network is taken where a folder holds several.

    Raises
    ------
    ConfigError
        When a folder holds none or several, or one for each kind of scans.
    """
    if not place.is_dir():
        return place
    labels = [model.replace("-", "") for model in models if model in SHD_MODELS] or ["shdtv"]
    check_one_kind(place, f"group_{_PATTERN}", "--weights")
    found = sorted(place.glob(_PATTERN))
    if len(found) > 1:
        found = [file for file in found if f"model-{labels[0]}_" in file.name] or found
    if len(found) == 1:
        return found[0]
    names = ", ".join(file.name for file in found) or "none"
    raise ConfigError(
        f"--weights {place} must hold one file *_desc-weights_model.safetensors of the model "
        f"asked for; found {names}. Give the file itself, or the group folder of an output."
    )


def read_preset(file: Path) -> str | None:
    """Read which preset weights were trained with; None where the file does not say.

    Raises
    ------
    WeightsError
        When the file cannot be read.
    """
    try:
        with file.open("rb") as content:
            n_byte = int.from_bytes(content.read(8), "little")
            if n_byte > min(_LARGEST_HEAD, file.stat().st_size):
                raise ValueError("the head is longer than the file")
            head = json.loads(content.read(n_byte))
        preset = head.get("__metadata__", {}).get("preset")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"--weights {file} cannot be read as a safetensors file ({error}). Give a file that "
            "shd-bids wrote."
        ) from error
    return str(preset) if preset else None
