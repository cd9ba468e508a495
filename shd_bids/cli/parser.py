"""The command line: flags made from the configuration's declarations, then merged with a file.

Only this module reads the arguments. It imports nothing heavy, so that `--help` is instant.
"""

import argparse
from collections.abc import Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from shd_bids import __version__
from shd_bids.config import (
    ANALYSIS_LEVELS,
    SECTIONS,
    ExecutionConfig,
    RunConfig,
    build_config,
    options_of,
    read_config_file,
)
from shd_bids.config.option import Setting
from shd_bids.errors import ConfigError

from .pairs import read_pairs
from .responses import find_response_files
from .weights import find_weights_file

_NAMES_OR_FILES = {"anat.anat_template", "anat.atlases", "tracking.seed_from"}


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; flags that are not given leave no trace, so that a file can set them."""
    parser = argparse.ArgumentParser(
        prog="shd-bids",
        # all flags in a block would hide what a call got wrong
        usage="%(prog)s BIDS_DIR OUTPUT_DIR {participant,group} [FLAG ...]",
        description="Preprocessing, SHD-TV fibre orientations, tractography and a report from a "
        "BIDS dataset of diffusion MRI.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: shd-bids /data /out participant --participant-label 01 -w /scratch/work",
    )
    parser.add_argument("bids_dir", type=Path, help="root of the BIDS dataset; only read")
    parser.add_argument("output_dir", type=Path, help="where the derivatives and reports go")
    parser.add_argument(
        "analysis_level",
        choices=ANALYSIS_LEVELS,
        help="participant: each scan; group: average responses, one network and a page for all",
    )
    parser.add_argument("--version", action="version", version=f"shd-bids {__version__}")
    for name, section in SECTIONS.items():
        group = parser.add_argument_group(name, (section.__doc__ or "").splitlines()[0])
        for setting in options_of(section):
            _add_flag(group, name, setting)
        if name == "execution":
            group.add_argument(
                "--config-file",
                type=Path,
                metavar="FILE",
                help="TOML with settings, such as the shd-bids.toml of an earlier run; flags win",
            )
    return parser


def parse_arguments(argv: Sequence[str] | None = None) -> RunConfig:
    """Read the command line and the configuration file, flags first.

    Parameters
    ----------
    argv
        Arguments without the program's name; those of the process when None.

    Returns
    -------
    RunConfig
        Checked, with absolute paths; resources and device are not looked up yet.

    Raises
    ------
    ConfigError
        When a flag or the file asks for something impossible.
    SystemExit
        From argparse, for `--help`, `--version` and malformed arguments.
    """
    given = vars(build_parser().parse_args(argv))
    config_file = given.pop("config_file", None)
    table: dict[str, dict[str, Any]] = read_config_file(config_file) if config_file else {}
    for place in ("bids_dir", "output_dir", "analysis_level"):
        given[f"execution.{place}"] = given.pop(place)
    if "response.files" in given:
        given["response.files"] = find_response_files(given["response.files"])
    if "deconv.weights" in given:
        models = given.get("deconv.fod_models", table.get("deconv", {}).get("fod_models", []))
        given["deconv.weights"] = find_weights_file(given["deconv.weights"], models)
    if "execution.derivatives" in given:
        given["execution.derivatives"] = read_pairs(
            given["execution.derivatives"],
            flag="--derivatives",
            expected="NAME=PATH, such as qsiprep=/data/derivatives/qsiprep",
        )
    for key in _NAMES_OR_FILES & given.keys():
        asked = given[key]
        given[key] = _absolute(asked) if isinstance(asked, str) else [*map(_absolute, asked)]
    for key, value in given.items():
        section, _, name = key.partition(".")
        table.setdefault(section, {})[name] = value
    execution = table["execution"]
    execution.setdefault("work_dir", ExecutionConfig.work_dir)  # below the current folder
    for name, prefix in (("participant_labels", "sub-"), ("session_labels", "ses-")):
        labels = execution.get(name, [])
        if not isinstance(labels, list):
            raise ConfigError(f"The setting execution.{name} is {labels!r}; expected a list.")
        execution[name] = [str(label).removeprefix(prefix) for label in labels]
    return build_config(table)


def _absolute(asked: str) -> str:
    """Make files absolute, so that the settings hold in another folder; names stay names."""
    parts = asked.split(",")
    return ",".join(str(Path(part).absolute()) if Path(part).is_file() else part for part in parts)


def _add_flag(group: Any, section: str, setting: Setting) -> None:
    """Add the flag of one setting."""
    option, kind = setting.option, str(setting.kind)
    default = setting.default
    told = default in (None, (), MISSING) or default is False or "default" in option.help
    shown = "" if told else f" (default: {default})"
    keywords: dict[str, Any] = {
        "dest": f"{section}.{setting.name}",
        "help": (option.help + shown).replace("%", "%%"),
    }
    if setting.name == "verbosity":
        keywords |= {"action": "count"}
    elif setting.kind is bool:
        keywords |= {"action": "store_true"}
    else:
        keywords |= {"metavar": option.metavar}
        if option.choices:
            keywords |= {"choices": option.choices}
        if "tuple" in kind or "dict" in kind:
            keywords |= {"nargs": "+"}
        elif "Path" in kind:
            keywords |= {"type": Path}
        elif "int" in kind:
            keywords |= {"type": int}
        elif "float" in kind:
            keywords |= {"type": float}
    group.add_argument(*setting.flags, **keywords)
