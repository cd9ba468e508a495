"""Whether tag, version and changelog agree; prints the notes of the release.

``python check_release.py v1.2.3 > notes.md``, in the root of the source.
"""

import re
import sys
from pathlib import Path


def read_version(source: str) -> str:
    """Read the version from the text of ``shd_bids/__init__.py``."""
    found = re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE)
    if found is None:
        raise SystemExit('shd_bids/__init__.py has no line __version__ = "...".')
    return found.group(1)


def read_notes(changelog: str, version: str) -> str:
    """Read what a changelog says under the heading of a version."""
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        heading, _, notes = section.partition("\n")
        if heading.split()[:1] == [version]:
            if not notes.strip():
                raise SystemExit(f"CHANGELOG.md says nothing under ## {version}.")
            return notes.strip() + "\n"
    raise SystemExit(f"CHANGELOG.md has no heading ## {version}; name what is under Unreleased so.")


def main(tag: str) -> int:
    """Print the notes, or say what does not agree."""
    version = read_version(Path("shd_bids/__init__.py").read_text(encoding="utf-8"))
    if tag != f"v{version}":
        raise SystemExit(
            f"The tag is {tag}, but the package has version {version}: expected v{version}."
        )
    sys.stdout.write(read_notes(Path("CHANGELOG.md").read_text(encoding="utf-8"), version))
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("Expected the tag, as in check_release.py v1.2.3.")
    sys.exit(main(sys.argv[1]))
