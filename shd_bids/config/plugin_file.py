"""What `--use-plugin` names: how the steps are run, as nipype calls it."""

import json
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shd_bids.errors import ConfigError

_LOCAL = ("MultiProc", "LegacyMultiProc", "Linear")
_ARGUMENTS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "MultiProc": {"n_procs": int, "memory_gb": (int, float)},
    "Linear": {},
    "SLURM": {
        "sbatch_args": (str, list),
        "template": str,
        "max_jobs": int,
        "max_tries": int,
        "retry_timeout": (int, float),
        "poll_seconds": (int, float),
    },
}
#: Of nipype's own, which every step's process of its own makes needless.
_NEEDLESS = ("maxtasksperchild", "raise_insufficient", "non_daemon", "scheduler", "mp_context")


@dataclass(frozen=True)
class PluginSettings:
    """Who runs the steps, and how.

    Attributes
    ----------
    name
        ``MultiProc``: processes here; ``Linear``: one of them at a time; ``SLURM``: jobs.
    arguments
        As nipype names them; lists of words stand for command lines.
    """

    name: str = "MultiProc"
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_cluster(self) -> bool:
        """Whether steps run on other machines."""
        return self.name == "SLURM"


def read_plugin_file(file: Path) -> PluginSettings:
    """Read a plugin file, as fMRIPrep takes it; nothing in it is evaluated.

    Parameters
    ----------
    file
        YAML, or TOML or JSON by its ending, with ``plugin`` and ``plugin_args``.

    Returns
    -------
    PluginSettings
        With all arguments of the kinds that are expected.

    Raises
    ------
    ConfigError
        When the file cannot be read, names a plugin that is not supported, or gives it an argument
        that it does not have.
    """
    what = f"--use-plugin {file}"
    table = _read_table(file, what)
    if unknown := sorted(set(table) - {"plugin", "plugin_args"}, key=str):
        raise ConfigError(f"{what} holds {unknown[0]!r}; expected plugin and plugin_args.")
    name = table.get("plugin")
    if name not in (*_LOCAL, "SLURM"):
        raise ConfigError(
            f"{what} asks for plugin {name!r}; supported are SLURM, which makes a job of every "
            f"large step, and {', '.join(_LOCAL)} on this machine. On another scheduler run one "
            "job per participant."
        )
    given = table.get("plugin_args") or {}
    if not isinstance(given, dict):
        raise ConfigError(f"{what}: plugin_args is {given!r}; expected names with values.")
    name = "MultiProc" if name == "LegacyMultiProc" else str(name)
    arguments = {
        key: _check(what, name, key, value)
        for key, value in given.items()
        if name == "SLURM" or key not in _NEEDLESS
    }
    return PluginSettings(name, arguments)


def _read_table(file: Path, what: str) -> dict[str, Any]:
    import yaml  # only here, so that --help does not wait for it

    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".toml":
            table = tomllib.loads(text)
        elif file.suffix == ".json":
            table = json.loads(text)
        else:
            table = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{what} cannot be read: {error.strerror}.") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"{what} is not valid YAML, TOML or JSON: {said}.") from error
    if not isinstance(table, dict):
        raise ConfigError(f"{what} holds no names with values; expected plugin and plugin_args.")
    return table


def _check(what: str, name: str, key: str, value: Any) -> Any:
    """Refuse an argument that the plugin does not have or that is of another kind."""
    known = _ARGUMENTS[name]
    if key not in known:
        allowed = ", ".join(known) or "none"
        raise ConfigError(f"{what} gives {name} the argument {key!r}; it takes {allowed}.")
    if not isinstance(value, known[key]) or isinstance(value, bool):
        raise ConfigError(f"{what}: {key} is {value!r}, which is of the wrong kind.")
    if isinstance(value, int | float) and not value > 0:
        raise ConfigError(f"{what}: {key} is {value}; it must be more than 0.")
    if key != "sbatch_args":
        return value
    try:
        words: Any = shlex.split(value) if isinstance(value, str) else value
        return [str(word) for word in words]
    except ValueError as error:
        raise ConfigError(f"{what}: {key} {value!r} cannot be read: {error}.") from error
