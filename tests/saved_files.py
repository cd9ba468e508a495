"""What a run has left on disk: its files, their sidecars, and what these point to."""

import json
from collections.abc import Mapping
from pathlib import Path

FOLDERS = ("dwi", "anat", "fmap")
NO_SIDECAR = (".json", ".bval", ".bvec")  # the gradients are told of by the image's


def saved_files(out: Path) -> list[str]:
    """List the files of all participants but figures and logs."""
    files = [
        file for folder in FOLDERS for file in out.glob(f"sub-*/**/{folder}/*") if file.is_file()
    ]
    return sorted(file.relative_to(out).as_posix() for file in files)


def sidecars(out: Path) -> dict[str, dict]:
    """Read the sidecar of every data file; those without one fail."""
    return {
        path: json.loads((out / f"{path.split('.')[0]}.json").read_text())
        for path in saved_files(out)
        if not path.endswith(NO_SIDECAR)
    }


def broken_uris(out: Path, links: Mapping[str, Path]) -> list[str]:
    """List the sources and references that lead nowhere."""
    roots = {"": out, **links}
    broken = []
    for path, sidecar in sidecars(out).items():
        uris = {*sidecar["Sources"], sidecar.get("SpatialReference", "orig")} - {"orig"}
        for uri in uris:
            scheme, _, rest = uri.partition(":")
            dataset, _, file = rest.partition(":")
            found = Path(rest.removeprefix("//")) if scheme == "file" else roots[dataset] / file
            broken += [] if found.is_file() else [f"{path}: {uri}"]
    return broken
