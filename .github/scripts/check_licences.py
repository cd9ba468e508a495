"""Whether every library that shd-bids needs may stand beside its Apache-2.0.

``python check_licences.py`` reads the installed packages from shd-bids on, prints a table, and
exits with 1 where a licence is not among those below, or cannot be read.
"""

import re
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement

#: Licences that ask for no more than to be named, by SPDX.
PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "HPND", "ISC",
    "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib",
}  # fmt: skip
#: Copyleft of a file or of a library that is installed beside ours, unchanged and replaceable.
WEAK = {
    "LGPL",
    "LGPL-2.1-only",
    "LGPL-2.1-or-later",
    "LGPL-3.0-only",
    "LGPL-3.0-or-later",
    "MPL-2.0",
}
#: Not free, but redistributable: the CUDA libraries that PyTorch's builds ask for.
CUDA = re.compile(r"(nvidia|cuda)-[a-z0-9-]+")
#: What packages write that do not write SPDX.
_SPOKEN = (
    (re.compile(r"apache", re.I), "Apache-2.0"),
    (re.compile(r"lesser general public|\blgpl\b", re.I), "LGPL"),
    (re.compile(r"general public|\bA?GPL", re.I), "GPL"),
    (re.compile(r"mozilla|\bMPL\b", re.I), "MPL-2.0"),
    (re.compile(r"python software foundation|\bPSF", re.I), "PSF-2.0"),
    (re.compile(r"\bISC\b", re.I), "ISC"),
    (re.compile(r"\bMIT\b", re.I), "MIT"),
    (re.compile(r"\bBSD\b", re.I), "BSD-3-Clause"),
)
_SPDX = re.compile(r"[A-Za-z0-9][\w.+-]*( (AND|OR|WITH) [A-Za-z0-9][\w.+-]*)*")


def read_licence(package: Distribution) -> str:
    """Give the licence of a package in SPDX's words, as far as it can be told.

    Its expression counts, else its classifiers, else the first line of its free text.
    """
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    classifiers = [
        entry.rpartition(":: ")[2]
        for entry in metadata.get_all("Classifier") or []
        if entry.startswith("License ::") and entry != "License :: OSI Approved"
    ]
    first_line = (metadata.get("License") or "").strip().partition("\n")[0]
    if _SPDX.fullmatch(first_line) and not classifiers:
        spoken = [first_line] if is_allowed(first_line) else [_translate(first_line)]
    else:
        spoken = [_translate(entry) for entry in classifiers or [first_line]]
    return " AND ".join(dict.fromkeys(spoken))


def _translate(text: str) -> str:
    return next((name for pattern, name in _SPOKEN if pattern.search(text)), text or "unknown")


def is_allowed(expression: str) -> bool:
    """Tell whether an SPDX expression leaves us free: each part of it, or one of its choices.

    Examples
    --------
    >>> is_allowed("MIT OR GPL-3.0-only"), is_allowed("MIT AND GPL-3.0-only")
    (True, False)
    >>> is_allowed("Apache-2.0 WITH LLVM-exception")
    True
    """
    bare = re.sub(r" WITH [\w.+-]+", "", expression).replace("(", "").replace(")", "")
    return all(
        any(choice.strip() in PERMISSIVE | WEAK for choice in part.split(" OR "))
        for part in bare.split(" AND ")
    )


def needed_by(name: str) -> dict[str, Distribution | None]:
    """Collect a package and all that it needs, without extras; None for what is not installed."""
    found: dict[str, Distribution | None] = {}
    waiting = [name]
    while waiting:
        asked = waiting.pop()
        key = re.sub(r"[-_.]+", "-", asked).lower()
        if key in found:
            continue
        try:
            found[key] = package = distribution(asked)
        except PackageNotFoundError:
            found[key] = None
            continue
        for line in package.requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def main(names: Iterable[str]) -> int:
    """Print the table; give 1 where something is wrong."""
    wrong = 0
    for name in names:
        for key, package in sorted(needed_by(name).items()):
            licence = "not installed" if package is None else read_licence(package)
            fine = package is not None and (is_allowed(licence) or bool(CUDA.fullmatch(key)))
            wrong += not fine
            print(f"{'  ' if fine else '! '}{key:28} {licence}")
    print(f"{wrong} package(s) with a licence that has to be looked at." if wrong else "All fit.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["shd-bids"]))
