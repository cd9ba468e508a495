"""Whether wheel and source distribution hold what they must, and nothing else.

``python check_package.py dist``, in the root of the source.
"""

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

#: Source roots, and what is in front of them in the repository.
PACKAGES = {"shd_bids": "", "shd_workflows": "workflows/"}


def tracked_files() -> list[str]:
    """List the files that git knows."""
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def expected_in_wheel(tracked: Iterable[str]) -> set[str]:
    """List what a wheel must hold: every file of the packages, code and data alike.

    Examples
    --------
    >>> sorted(expected_in_wheel(["shd_bids/data/report.css", "workflows/shd_workflows/run.py"]))
    ['shd_bids/data/report.css', 'shd_workflows/run.py']
    >>> expected_in_wheel(["tests/a.py"])
    set()
    """
    roots = {prefix + package + "/": prefix for package, prefix in PACKAGES.items()}
    return {
        file.removeprefix(prefix)
        for file in tracked
        for root, prefix in roots.items()
        if file.startswith(root)
    }


def compare(what: str, found: set[str], expected: set[str]) -> list[str]:
    """Say what is missing and what is too much."""
    return [
        *(f"{what} lacks {name}" for name in sorted(expected - found)),
        *(f"{what} holds {name}, which it should not" for name in sorted(found - expected)),
    ]


def main(folder: Path) -> int:
    """Compare the two files of a folder with what git knows."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    tracked = tracked_files()
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
    with tarfile.open(sdist) as archive:
        in_sdist = {member.name.partition("/")[2] for member in archive if member.isfile()}
    wrong = compare(wheel.name, in_wheel, expected_in_wheel(tracked))
    wrong += compare(sdist.name, in_sdist - {"PKG-INFO"}, set(tracked))
    wrong += [] if licences else [f"{wheel.name} lacks the LICENSE"]
    print(
        "\n".join(wrong)
        or f"{wheel.name}: {len(in_wheel)} files, {sdist.name}: {len(in_sdist)}; all there."
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
