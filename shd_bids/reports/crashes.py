"""What went wrong: the crash files of a run as HTML."""

import re
from html import escape
from pathlib import Path

from .fragments import alert

_NODE = re.compile(r"^Node:\s*(\S+)", re.MULTILINE)


def crash_fragment(crash_dir: Path) -> str:
    """Show every crash file of a folder, the message first, the whole file folded below.

    Parameters
    ----------
    crash_dir
        Holds ``crash-*.txt``; it need not exist.

    Returns
    -------
    str
        HTML; without crash files it says that there are no errors.
    """
    crash_files = sorted(crash_dir.glob("crash*"))
    if not crash_files:
        return alert("No errors to report.", "success")
    count = len(crash_files)
    steps = "1 step failed" if count == 1 else f"{count} steps failed"
    parts = [alert(f"{steps}, and what depends on them was not run.", "danger")]
    parts.extend(_one_crash(file) for file in crash_files)
    return "\n".join(parts)


def crash_message(text: str) -> str:
    r"""Find the sentence that a reader needs: the last line of the traceback.

    Examples
    --------
    >>> crash_message('Traceback:\n  File "x.py", line 1\nImageError: a.nii is empty.\n\n')
    'ImageError: a.nii is empty.'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Killed)\w*:", line)]
    if named:
        return re.sub(r"^[\w.]*\.(?=\w+:)", "", named[-1])
    return lines[-1] if lines else "The crash file is empty."


def _one_crash(file: Path) -> str:
    if file.suffix != ".txt":
        return f'<div class="crash"><p>See {escape(str(file))}</p></div>'
    text = file.read_text(encoding="utf-8", errors="replace")
    node = _NODE.search(text)
    name = node.group(1) if node else file.name
    return (
        '<div class="crash">\n'
        f"<p><strong>{escape(name)}</strong><br/>{escape(crash_message(text))}</p>\n"
        f"<details><summary>{escape(file.name)}</summary><pre>{escape(text)}</pre></details>\n"
        "</div>"
    )
