"""The configuration as TOML: written beside the results, and given back with `--config-file`."""

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from shd_bids.errors import ConfigError

from .sections import RunConfig

_SHOWN = 200  # letters of what was found, in messages
_LARGEST = 1e300  # of a number in a setting

SECTIONS: dict[str, type[Any]] = {
    name: kind
    for name, kind in get_type_hints(RunConfig).items()
    if kind.__module__ == RunConfig.__module__
}


def read_config_file(config_file: Path) -> dict[str, dict[str, Any]]:
    """Read the settings of a TOML file, by section.

    Parameters
    ----------
    config_file
        TOML with some or all of the sections of `RunConfig`.

    Returns
    -------
    dict
        Plain values by section and name.

    Raises
    ------
    ConfigError
        When the file cannot be read or holds an unknown section or setting.
    """
    try:
        table = tomllib.loads(config_file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(
            f"--config-file {config_file} cannot be read: {error.strerror}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"--config-file {config_file} is not valid TOML: {_shorten(str(error))}. Give the "
            "shd-bids.toml of an earlier run."
        ) from error
    for name, values in table.items():
        if name not in SECTIONS or not isinstance(values, dict):
            raise ConfigError(
                f"--config-file {config_file} holds {_shorten(repr(name))}; "
                f"its sections may be {', '.join(SECTIONS)}."
            )
        known = [item.name for item in dataclasses.fields(SECTIONS[name])]
        if unknown := [entry for entry in values if entry not in known]:
            raise ConfigError(
                f"--config-file {config_file} holds {name}.{_shorten(unknown[0])}; "
                f"[{name}] may hold {', '.join(known)}."
            )
    return table


def config_text(config: RunConfig) -> str:
    """Give what was asked for as TOML, and what the machine chose as comments.

    So the text means the same on another machine: what was left to the machine still is.
    """
    import tomli_w  # only here, so that --help and --version do not wait for it

    text = tomli_w.dumps(config.to_table())
    if not config.chosen:
        return text
    choices = (f"# {name} = {json.dumps(value)}" for name, value in config.choices().items())
    return "\n".join(["# Left to the machine, which chose:", *choices, "", text])


def build_config(table: Mapping[str, Mapping[str, Any]]) -> RunConfig:
    """Make the configuration from plain values by section.

    Raises
    ------
    ConfigError
        When a value is of the wrong kind or is not allowed.
    """
    sections = {}
    for name, section in SECTIONS.items():
        hints = get_type_hints(section)
        values = table.get(name, {})
        sections[name] = section(
            **{key: _convert(value, hints[key], f"{name}.{key}") for key, value in values.items()}
        )
    return RunConfig(**sections)


def _convert(value: Any, kind: Any, name: str) -> Any:
    """Give a plain value the type of its field; whole numbers may stand for floats."""
    if isinstance(kind, UnionType):  # optional: one type or None
        kind = next(entry for entry in get_args(kind) if entry is not type(None))
    if get_origin(kind) is dict and isinstance(value, Mapping):
        return {key: _convert(entry, Path, name) for key, entry in value.items()}
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        return tuple(_convert(entry, str, name) for entry in value)
    if kind is Path and isinstance(value, str | Path) and "\0" not in str(value):
        with suppress(RuntimeError):  # of ~name where there is no such user
            return Path(value).expanduser().absolute()
    if kind is float and type(value) in (int, float) and abs(value) < _LARGEST:
        return float(value)
    if type(value) is kind:
        return value
    wanted = getattr(kind, "__name__", kind)
    raise ConfigError(
        f"The setting {name} is {_shorten(repr(value))}; expected a value of type {wanted}."
    )


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
