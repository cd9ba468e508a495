"""What went wrong: the crash files of a run as HTML."""

import re
from html import escape
from pathlib import Path

from .fragments import alert, fold

_NODE = re.compile(r"^Node:\s*(\S+)", re.MULTILINE)
_TRACEBACK = re.compile(r"^Traceback\b.*:", re.MULTILINE)
_NAMED = re.compile(r"[\w.]*(Error|Exception|Killed|Exit|Interrupt)\b(: |$)")


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
    depends = "it" if count == 1 else "them"
    parts = [alert(f"{steps}, and what depends on {depends} was not run.", "danger")]
    parts.extend(_one_crash(file) for file in crash_files)
    return "\n".join(parts)


def crash_message(text: str) -> str:
    r"""Find what a reader needs: what the last exception of the traceback said.

    Examples
    --------
    >>> crash_message('Traceback:\n  File "x.py", line 1\nImageError: a.nii is empty.\n\n')
    'ImageError: a.nii is empty.'
    >>> crash_message("ImageError: The affine is singular:\n[[0 0]\n [0 0]]\n\nkeys: 3")
    'ImageError: The affine is singular: [[0 0] [0 0]]'
    """
    lines = [line.strip() for line in text.splitlines()]
    named = [i for i, line in enumerate(lines) if _NAMED.match(line)]
    if not named:
        said = [line for line in lines if line]
        return said[-1] if said else "The crash file is empty."
    paragraph = lines[named[-1] :]
    end = paragraph.index("") if "" in paragraph else len(paragraph)
    return re.sub(r"^[\w.]*\.(?=\w+(:|$))", "", " ".join(paragraph[:end]))


def _one_crash(file: Path) -> str:
    if file.suffix != ".txt":
        return f'<div class="crash"><p>See {escape(str(file))}</p></div>'
    text = file.read_text(encoding="utf-8", errors="replace")
    found = _NODE.search(text)
    node = found.group(1) if found else file.name
    start = _TRACEBACK.search(text)
    traceback = text[start.start() :].strip() if start else ""
    full = f" <small>({escape(node)})</small>" if "." in node else ""
    parts = [
        f"<p><strong>{escape(crash_message(text))}</strong></p>",
        f"<p>Step: {escape(_readable(node))}{full}</p>",
    ]
    if traceback:
        parts.append(fold("Traceback", f"<pre>{escape(traceback)}</pre>"))
    parts.append(fold(f"Inputs of the step, and all else: {file.name}", _whole(text)))
    return "\n".join(['<div class="crash">', *parts, "</div>"])


def _whole(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def _readable(node: str) -> str:
    """Shorten a step's full name to the labels of its graphs.

    Examples
    --------
    >>> _readable("shd_bids_wf.sub_01_wf.dwi_wf.preproc_wf.denoise_dwi")
    'sub_01, dwi, preproc, denoise_dwi'
    """
    labels = [part.removesuffix("_wf") for part in node.split(".")]
    return ", ".join(label for label in labels if label != "shd_bids")
