"""What the pages of the documentation show: commands, flags, links to files."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
SHOWN = [ROOT / "README.md", *PAGES]

_FENCE = re.compile(r"^( *)(`{3,})(\w*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_PROGRAM = re.compile(r"(.*/)?shd-bids(-gpu)?(:[\w.-]+|_?[\w.-]*\.sif)?$")
_SEPARATORS = {"|", "||", "&&", ";", ">", ">>", "<", "2>&1"}


def command_lines(text: str) -> Iterator[str]:
    """Give the lines of all blocks of code, continued ones as one, without comments."""
    for block in _FENCE.finditer(text):
        if block.group(3) in ("", "sh", "bash", "console"):
            joined = re.sub(r"\\\n\s*", " ", block.group(4))
            for line in joined.splitlines():
                yield re.sub(r"(^|\s)#.*$", "", line).strip()


def program_calls(text: str) -> Iterator[list[str]]:
    """Give the arguments of every call of shd-bids, also through a container or Slurm."""
    for line in command_lines(text):
        if "shd-bids" not in line and "slurm_array.sh" not in line:
            continue
        try:
            words = shlex.split(line)
        except ValueError:  # prose, or a tree of files
            continue
        if "slurm_array.sh" in words and words[0] == "sbatch":
            bids_dir, output_dir, _, listed, *flags = words[words.index("slurm_array.sh") + 1 :]
            level = "group" if listed == "group" else "participant"
            yield [bids_dir, output_dir, level, *flags]
            continue
        for number, word in enumerate(words):
            arguments = words[number + 1 :]
            if _PROGRAM.fullmatch(word) and _is_call(arguments, words[:number]):
                end = next((i for i, it in enumerate(arguments) if it in _SEPARATORS), None)
                yield [it for it in arguments[:end] if it != "[flags]"]
                break  # a folder may have the program's name


def _is_call(arguments: list[str], before: list[str]) -> bool:
    """Tell a call from a name of a folder, an image that is built, or an option's value."""
    if not arguments or {"build", "pull"} & set(before[:2]) or "-m" in arguments[:1]:
        return False
    if arguments[0] in ("--version", "--help"):
        return True
    return any(word in arguments[:3] for word in ("participant", "group"))


def flags_in_code(text: str) -> Iterator[str]:
    """Give every flag that a span of code shows as ours: those that begin the span."""
    for span in _CODE.finditer(_FENCE.sub("", text)):
        if span.group(1).startswith("--"):
            yield re.split(r"[\s=]", span.group(1))[0]


def modules_run(text: str) -> set[str]:
    """Give the modules that commands and spans of code run by ``python -m``."""
    return set(re.findall(r"python3? -m ((?:shd_bids|shd_workflows|benchmarks)[\w.]*)", text))


def make_targets(text: str) -> set[str]:
    """Give the targets that commands and spans of code ask make for."""
    shown = [*command_lines(text), *(span.group(1) for span in _CODE.finditer(text))]
    calls = (re.match(r"make ((?:[a-z][a-z-]* ?)+)", line) for line in shown)
    return {target for call in calls if call for target in call.group(1).split()}


def known_targets() -> set[str]:
    """Give the targets of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    rules = re.findall(r"^([a-z][\w -]*):(?!=)", makefile, re.MULTILINE)
    return {target for rule in rules for target in rule.split()}
