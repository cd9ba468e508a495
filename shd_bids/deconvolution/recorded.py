"""Whether a fit of an earlier run is the one that is asked for now, by what its sidecar tells."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from shd_bids.bids.files import file_digest
from shd_bids.config import SHD_MODELS

from .loss_weights import LossWeights
from .presets import get_preset

# what the sidecar calls a setting of the network, for the flag that sets it
_FLAGS = {"steps": "--shd-steps"}


@dataclass(frozen=True)
class AskedFit:
    """A fit as the command line asks for it; what is None is left to the preset or the model."""

    model: str
    lmax: int
    random_seed: int
    preset: str = "fast"
    n_step: int | None = None
    tv_weight: float | None = None
    precision: str = "auto"
    weights_file: Path | None = None


def differences(asked: AskedFit, settings: Mapping[str, Any]) -> list[str]:
    """Say how a fit that is asked for differs from one that was made.

    The device is not compared: the same network on another gives the same but for rounding.

    Parameters
    ----------
    asked
        The fit that is wanted.
    settings
        ``Settings`` of the sidecar of the other's fODF.

    Returns
    -------
    list[str]
        Each in a few words with the flag that is behind it; empty where they are the same.

    Examples
    --------
    >>> differences(AskedFit("csd", 8, 0), {"model": "csd", "lmax": 6})
    ['--lmax is 8, it was 6']
    """
    pairs: dict[str, tuple[Any, Any]] = {"--fod-model": (asked.model, settings.get("model"))}
    if asked.model not in SHD_MODELS:
        pairs["--lmax"] = (asked.lmax, settings.get("lmax"))
        return _unequal(pairs)
    preset = get_preset(asked.preset)
    preset = replace(preset, steps=preset.steps if asked.n_step is None else asked.n_step)
    pairs["--lmax"] = (min(asked.lmax, preset.largest_degree), settings.get("lmax"))
    pairs["--shd-preset"] = (asked.preset, settings.get("preset"))
    if asked.preset == settings.get("preset"):
        made = settings.get("network") or {}
        unused = ["halo"] if asked.model == "esd" else []  # it takes each voxel alone
        unused += [] if asked.weights_file is None else ["steps"]
        pairs |= {
            _FLAGS.get(name, f"the preset's {name}"): (value, made.get(name))
            for name, value in asdict(preset).items()
            if name not in unused
        }
    if asked.precision != "auto":
        pairs["--precision"] = (asked.precision, settings.get("precision"))
    digest = None if asked.weights_file is None else file_digest(asked.weights_file)[:12]
    made_with = str(settings.get("weights_digest") or settings.get("weights_file") or "")[:12]
    pairs["the digest of --weights"] = (digest, made_with or None)
    if asked.weights_file is None:  # the loss and its seed are those of the training
        terms = asdict(LossWeights.for_model(asked.model, asked.tv_weight))
        made_terms = settings.get("loss_weights") or {}
        pairs |= {
            "--tv-weight" if name == "total_variation" else f"the loss's weight of {name}": (
                value,
                made_terms.get(name),
            )
            for name, value in terms.items()
        }
        pairs["--random-seed"] = (asked.random_seed, settings.get("random_seed"))
    return _unequal(pairs)


def _unequal(pairs: Mapping[str, tuple[Any, Any]]) -> list[str]:
    return [
        f"{name} is {_say(wanted)}, it was {_say(made)}"
        for name, (wanted, made) in pairs.items()
        if wanted != made
    ]


def _say(value: Any) -> str:
    return "not given" if value is None else str(value)
