"""Nodes that put results under their final names, each file by rename."""

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    Directory,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from shd_bids.bids.files import replace_file, write_json
from shd_bids.bids.json_files import read_json_object
from shd_bids.errors import BidsDataError

LOGGER = logging.getLogger(__name__)


class _SaveDerivativesInputSpec(BaseInterfaceInputSpec):
    in_files = traits.Dict(traits.Str, File(exists=True), mandatory=True, desc="files by key")
    paths = traits.Dict(
        traits.Str, traits.Str, mandatory=True, desc="path in the output dataset by key"
    )
    sidecars = traits.Dict(
        traits.Str, traits.Dict, desc="content of the JSON file beside a file, by key"
    )
    found = traits.Dict(desc="fields that every sidecar gets, beside its own")
    kept = traits.List(traits.Str, desc="keys of files that an earlier run has saved")
    relinked = traits.Dict(
        traits.Str, traits.Str, desc="BIDS URIs of files elsewhere, by those that they would have"
    )
    output_dir = Directory(mandatory=True, desc="root of the output dataset")


class _SaveDerivativesOutputSpec(TraitedSpec):
    out_files = traits.Dict(traits.Str, File, desc="where the files are now, by key")


class SaveDerivatives(SimpleInterface):
    """Copy the files of one step to the output dataset, with their sidecars.

    What it may write and was not given, such as a bundle that is not found any more, is taken
    away: an earlier run left it, and it does not belong to what stands beside it now. It runs
    every time, since the output may have been deleted; a file that is there already, of the same
    size and time, is not copied again.
    """

    input_spec = _SaveDerivativesInputSpec
    output_spec = _SaveDerivativesOutputSpec
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        output_dir, out_files = Path(self.inputs.output_dir), {}
        sidecars, found = self.inputs.sidecars or {}, self.inputs.found or {}
        kept = self.inputs.kept or []
        for key, source in self.inputs.in_files.items():
            if key in kept:
                continue
            destination = output_dir / self.inputs.paths[key]
            save_file(Path(source), destination)
            if key in sidecars:
                content = relink(sidecars[key] | found, self.inputs.relinked or {})
                _write_sidecar(content, destination)
            out_files[key] = str(destination)
        for key in self.inputs.paths.keys() - self.inputs.in_files.keys():
            remove_file(output_dir / self.inputs.paths[key])
        self._results["out_files"] = out_files
        return runtime


def relink(content: Any, uris: Mapping[str, str]) -> Any:
    """Replace BIDS URIs in the fields of a sidecar, however deep.

    Examples
    --------
    >>> relink({"Sources": ["bids::a", "bids::b"]}, {"bids::a": "bids:other:a"})
    {'Sources': ['bids:other:a', 'bids::b']}
    """
    if isinstance(content, dict):
        return {key: relink(value, uris) for key, value in content.items()}
    if isinstance(content, list):
        return [relink(value, uris) for value in content]
    return uris.get(content, content) if isinstance(content, str) else content


def save_file(source: Path, destination: Path) -> None:
    """Copy a file to its final name, unless the same file is there.

    Parameters
    ----------
    source
        What to copy.
    destination
        Where to; replaced in one step, with the time of the source.
    """
    told = source.stat()
    if destination.is_file():
        found = destination.stat()
        if (found.st_size, found.st_mtime_ns) == (told.st_size, told.st_mtime_ns):
            return
    replace_file(source, destination)
    os.utime(destination, ns=(told.st_atime_ns, told.st_mtime_ns))


def remove_file(file: Path) -> None:
    """Take away a file of an earlier run, and its sidecar if it tells of nothing else."""
    if not file.is_file():
        return
    LOGGER.info("%s is of an earlier run and was not made again: it is removed.", file.name)
    file.unlink()
    stem = file.name.split(".")[0]
    sidecar_file = file.with_name(f"{stem}.json")
    others = [other for other in file.parent.glob(f"{stem}.*") if other != sidecar_file]
    if not others:
        sidecar_file.unlink(missing_ok=True)


def _write_sidecar(content: dict[str, Any], data_file: Path) -> None:
    stem = data_file.name.split(".")[0]
    sidecar_file = data_file.with_name(f"{stem}.json")
    with suppress(BidsDataError):  # there is none yet, or what is there is damaged
        if read_json_object(sidecar_file) == content:
            return
    write_json(sidecar_file, content)
