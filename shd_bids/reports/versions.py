"""Which software, on which machine: what a result may depend on.

Versions are read from what is installed, without importing it: the process that runs the graph must
stay free of PyTorch.
"""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: What computes a result, reads or writes one, or draws the page; by its name for people.
LIBRARIES = {
    "PyTorch": "torch",
    "DIPY": "dipy",
    "SimpleITK": "SimpleITK",
    "NumPy": "numpy",
    "SciPy": "scipy",
    "NiBabel": "nibabel",
    "PyBIDS": "pybids",
    "Nipype": "nipype",
    "NiWorkflows": "niworkflows",
    "NiReports": "nireports",
    "TemplateFlow client": "templateflow",
    "VTK": "vtk",
    "Matplotlib": "matplotlib",
}
PROGRAMS = ("MRtrix3", "FSL")
_CPU_FILE = Path("/proc/cpuinfo")


def software_versions(programs: Sequence[str] = ()) -> dict[str, str]:
    """Give the versions of Python, of the libraries and of some programs, by name.

    Parameters
    ----------
    programs
        Those of `PROGRAMS` that the run made use of.

    Returns
    -------
    dict
        In the order in which they are told.

    Examples
    --------
    >>> list(software_versions())[:3]
    ['Python', 'PyTorch', 'DIPY']
    """
    found = {"Python": f"{platform.python_version()} ({platform.python_implementation()})"}
    found |= {name: library_version(name) for name in LIBRARIES}
    return found | {name: program_version(name) for name in programs}


def library_version(name: str) -> str:
    """Give the version of one of `LIBRARIES`."""
    try:
        return version(LIBRARIES[name])
    except PackageNotFoundError:
        return "not installed"


@cache
def program_version(name: str) -> str:
    """Give the version of one of `PROGRAMS`: what it says itself, or its files say of it."""
    if name == "FSL":
        program = shutil.which("topup")
        roots = [Path(os.environ["FSLDIR"])] if os.environ.get("FSLDIR") else []
        roots += [Path(program).resolve().parents[1]] if program else []
        for root in roots:
            file = root / "etc" / "fslversion"
            if file.is_file():
                return file.read_text(encoding="utf-8").strip()
    elif program := shutil.which("tcksift2"):
        said = _first_line([program, "--version"])
        if found := re.search(r"\d+\.\d+[\w.~+-]*", said):
            return found.group()
    return "version not known"


def machine_facts(container: Mapping[str, str] | None = None) -> dict[str, str]:
    """Name operating system, processor and container.

    Parameters
    ----------
    container
        ``Type``, ``Tag`` and ``URI`` as far as they are known; None outside of one.
    """
    system = f"{platform.system()} {platform.release()}"
    with suppress(OSError, KeyError):  # no Linux, or a bare one
        system = f"{platform.freedesktop_os_release()['PRETTY_NAME']} ({system})"
    return {
        "Operating system": system,
        "Processor": f"{_processor()}, {platform.machine()}",
        "Container": container_name(container) or "none that is known",
    }


def container_name(container: Mapping[str, str] | None) -> str:
    """Write a container as one would in a sentence.

    Examples
    --------
    >>> container_name({"Type": "docker", "Tag": "shd-bids/shd-bids:1.0"})
    'docker shd-bids/shd-bids:1.0'
    >>> container_name(None)
    ''
    """
    fields = container or {}
    return " ".join(fields[key] for key in ("Type", "Tag", "URI") if fields.get(key))


def _processor() -> str:
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", _CPU_FILE.read_text(), re.MULTILINE)
    except OSError:  # no Linux
        names = []
    return names[0] if names else platform.processor() or "processor not known"


def _first_line(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return next(iter(done.stdout.strip().splitlines()), "")
