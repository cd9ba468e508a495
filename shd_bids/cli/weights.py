"""What `--weights` names: a file of network weights, or a folder that holds it.

Everything is looked at before anything runs; torch need not be imported for that.
"""

from collections.abc import Sequence
from pathlib import Path

from shd_bids.config import SHD_MODELS
from shd_bids.errors import ConfigError, WeightsError

from .kinds import check_one_kind

_PATTERN = "*desc-weights_model.safetensors"
_TOLD = ("n_side", "n_level", "filters", "n_order", "n_shell", "tissues")


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
        When the file is damaged or holds no network of shd-bids.
    """
    from shd_bids.deconvolution.tensor_file import check_numbers, read_text  # NumPy takes a second

    try:
        text = read_text(file)
        if missing := [name for name in _TOLD if name not in text]:
            raise WeightsError(
                f"{file} was not written by shd-bids: its text tells no {', '.join(missing)}."
            )
        check_numbers(file)
    except WeightsError as error:
        raise WeightsError(f"--weights {error}") from error
    return text.get("preset")
