"""Trees of results: whether two hold the same, and whether every file of one is whole."""

import base64
import gzip
import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

#: Fields of sidecars that tell of times and speed, which no two runs share.
VOLATILE = re.compile(r"second|voxels_per_s|^Duration|checksum|^(Series|Mask)$", re.IGNORECASE)
#: Files that a run writes about itself.
_ABOUT_RUNS = re.compile(
    r"(^|/)(log|logs)/|_desc-(timings|about|configuration|methods|fit|loss)_|^sub-[^/]+$|^group.html$"
)
_NO_SIDECAR = (".json", ".bval", ".bvec")
_SIDECAR_FOLDERS = ("dwi", "anat", "fmap")
_RUN = re.compile(r"\d{8}-\d{6}_[0-9a-f-]{36}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SVG_DATE = re.compile(r"<dc:date>.*?</dc:date>")
_SVG_NAME = re.compile(r"\b(\w+_)?([a-z]|image)?[0-9a-f]{10}\b")  # drawn by every process
_EMBEDDED = re.compile(r"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)")


def assert_same_results(actual: Path, expected: Path, *, ignore: str | None = None) -> None:
    """Compare the results of two runs, file by file and bit by bit.

    Times, dates and the names of runs are passed over, and so is the place of the output itself;
    what is in the folders ``log`` tells of each run, also of those that failed.

    Parameters
    ----------
    actual, expected
        Output datasets of the same command.
    ignore
        Pattern of paths, relative to the datasets, that may differ or be missing.
    """
    passed_over = re.compile(ignore) if ignore else None

    def wanted(out: Path) -> set[str]:
        return {
            path
            for path in files_of(out)
            if "/log/" not in path and not (passed_over and passed_over.search(path))
        }

    found, known = wanted(actual), wanted(expected)
    assert not known - found, f"missing: {sorted(known - found)}"
    assert not found - known, f"not expected: {sorted(found - known)}"
    different = [
        path
        for path in sorted(found)
        if not _ABOUT_RUNS.search(path)
        and _content(actual / path, actual) != _content(expected / path, expected)
    ]
    assert not different, "\n".join(different)


def files_of(out: Path) -> list[str]:
    """List all files by their paths; the folders of runs have the same name."""
    files = {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}
    return sorted({_RUN.sub("RUN", path) for path in files if not _is_lock(path)})


def assert_whole(out: Path, *, leftovers: bool = True) -> None:
    """Open every file of an output dataset, and look for its sidecar.

    Parameters
    ----------
    out
        Output dataset, of a run that went well or did not.
    leftovers
        Whether a file under a temporary name is a fault, too. A process that is killed leaves
        some, which the next run takes away.
    """
    faults = [fault for file in sorted(out.rglob("*")) if file.is_file() for fault in _judge(file)]
    if leftovers:
        faults += [f"{file} is a leftover" for file in leftovers_of(out)]
    assert not faults, "\n".join(faults)


def leftovers_of(out: Path) -> list[Path]:
    """List the files under temporary names, which begin with a dot."""
    own = (".bidsignore",)
    return [
        file
        for file in sorted(out.rglob(".*"))
        if file.is_file() and file.name not in own and not _is_lock(file.name)
    ]


def _is_lock(path: str) -> bool:
    return path.endswith(".lock")


def _judge(file: Path) -> Iterator[str]:
    if file.name.startswith("."):
        return  # temporary, or a lock
    try:
        _open(file)
    except Exception as error:  # whatever a reader says
        yield f"{file}: {type(error).__name__}: {error}"
    if file.parent.name in _SIDECAR_FOLDERS and not file.name.endswith(_NO_SIDECAR):
        sidecar_file = file.with_name(f"{file.name.split('.')[0]}.json")
        if not sidecar_file.is_file():
            yield f"{file} has no sidecar"


def _open(file: Path) -> None:
    """Read a file to its end, as who uses it would."""
    if file.stat().st_size == 0:
        assert file.name == "shd-bids.log", "empty"
    elif file.name.endswith(".nii.gz"):
        nib.load(file).get_fdata()
        gzip.decompress(file.read_bytes())
    elif file.suffix == ".json":
        json.loads(file.read_text(encoding="utf-8"))
    elif file.suffix == ".safetensors":
        load_file(file)
    elif file.suffix in (".tck", ".trk"):
        nib.streamlines.load(file)
    elif file.suffix == ".trx":
        assert zipfile.ZipFile(file).testzip() is None
    elif file.suffix in (".png", ".webp", ".jpg"):
        Image.open(file).load()
    elif file.suffix == ".svg":
        assert file.read_text(encoding="utf-8").rstrip().endswith("</svg>")
    elif file.suffix == ".html":
        HTMLParser().feed(file.read_text(encoding="utf-8"))
        if file.parent.name != "figures":  # a page, not a part of one
            assert file.read_text(encoding="utf-8").rstrip().endswith("</html>")
    elif file.suffix in (".tsv", ".txt", ".bval", ".bvec", ".toml") and "crash-" not in file.name:
        assert file.read_text(encoding="utf-8").endswith("\n")


def _content(file: Path, out: Path) -> Any:
    """Give what two runs share of a file."""
    if file.name.endswith(".nii.gz"):
        return zlib.crc32(gzip.decompress(file.read_bytes()))
    if file.suffix == ".json":
        return _without_times(json.loads(_placeless(file, out)))
    if file.suffix == ".trx":
        members = zipfile.ZipFile(file)
        return {entry.filename: entry.CRC for entry in members.infolist()}
    if file.suffix in (".png", ".webp", ".jpg"):
        return np.asarray(Image.open(file)).tobytes()
    if file.suffix == ".svg":
        text = _SVG_DATE.sub("", _EMBEDDED.sub(_pixels, _placeless(file, out)))
        return _SVG_NAME.sub("NAME", text)
    if file.suffix == ".safetensors":
        with safe_open(file, framework="numpy") as content:
            tensors = {name: content.get_tensor(name).tobytes() for name in content.keys()}  # noqa: SIM118  # not a dict
            return tensors, content.metadata()
    if file.suffix == ".tsv":
        return _columns_without_times(file)
    if file.suffix in (".html", ".md"):
        return _placeless(file, out)
    return file.read_bytes()


def _pixels(found: re.Match[str]) -> str:
    picture = Image.open(io.BytesIO(base64.b64decode(found.group(1))))
    return f"PNG of {zlib.crc32(np.asarray(picture).tobytes()):08x}"


def _columns_without_times(file: Path) -> list[list[str]]:
    rows = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()]
    kept = [i for i, name in enumerate(rows[0]) if not VOLATILE.search(name)]
    return [[row[i] for i in kept] for row in rows]


def _placeless(file: Path, out: Path) -> str:
    """Read a text without the place of the output and the names of runs."""
    text = re.sub(rf"{re.escape(str(out))}(?!\w)", "OUT", file.read_text(encoding="utf-8"))
    return _UUID.sub("UUID", _RUN.sub("RUN", text))


def _without_times(content: Any) -> Any:
    if isinstance(content, dict):
        return {
            key: _without_times(value) for key, value in content.items() if not VOLATILE.search(key)
        }
    if isinstance(content, list):
        return [_without_times(value) for value in content]
    return "NaN" if isinstance(content, float) and math.isnan(content) else content
