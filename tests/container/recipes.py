"""What a Dockerfile and an Apptainer definition say, in the same words, so that they compare."""

import re
import shlex
from dataclasses import dataclass, field


@dataclass
class Stage:
    """One stage of an image, whichever recipe it was read from."""

    base: str
    arguments: dict[str, str] = field(default_factory=dict)
    copies: list[tuple[str, str]] = field(default_factory=list)  # from the sources, to the image
    taken: list[tuple[str, str]] = field(default_factory=list)  # from the stage before
    steps: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    program: list[str] = field(default_factory=list)
    user: str = "root"
    health: str = ""


def read_dockerfile(text: str) -> list[Stage]:
    """Read the stages of a Dockerfile as far as ours goes; anything else is refused."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    stages: list[Stage] = []
    shared: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, rest = line.split(maxsplit=1)
        words = shlex.split(rest)
        if instruction == "FROM":
            stages.append(Stage(_names(words[0]), dict(shared)))
            continue
        if not stages:
            assert instruction == "ARG", line
            shared |= _pairs(words)
            continue
        stage = stages[-1]
        if instruction == "ARG":
            stage.arguments |= _pairs(words)
        elif instruction == "COPY":
            origin = words.pop(0) if words[0].startswith("--from") else ""
            (stage.taken if origin else stage.copies).extend(_copies(*words))
        elif instruction == "RUN":
            stage.steps.append(rest)
        elif instruction == "ENV":
            stage.variables |= _pairs(words)
        elif instruction == "LABEL":
            stage.labels |= _pairs(words)
        elif instruction == "ENTRYPOINT":
            stage.program = [word.strip(",") for word in shlex.split(rest.strip("[]"))]
        elif instruction == "USER":
            stage.user = rest
        elif instruction == "HEALTHCHECK":
            stage.health = rest
        else:
            assert instruction in ("WORKDIR", "CMD"), line
    return stages


def read_definition(text: str) -> list[Stage]:
    """Read the stages of an Apptainer definition as far as ours goes."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    stages = []
    for part in re.split(r"^Bootstrap: docker\n", text, flags=re.MULTILINE)[1:]:
        header, *sections = re.split(r"^%", part, flags=re.MULTILINE)
        stage = Stage(_names(re.findall(r"^From: (.*)$", header, flags=re.MULTILINE)[0]))
        for section in sections:
            title, *lines = section.splitlines()
            lines = [line.strip() for line in lines if line.strip()]
            if title == "arguments":
                stage.arguments |= _pairs(lines)
            elif title == "files":
                stage.copies += [(source, target) for source, target in map(str.split, lines)]
            elif title.startswith("files from"):
                stage.taken += [(source, target) for source, target in map(str.split, lines)]
            elif title == "post":
                stage.steps = [line for line in lines if not line.startswith("export ")]
                _check_exports([line for line in lines if line.startswith("export ")], stage)
            elif title == "environment":
                stage.variables |= _pairs([line.removeprefix("export ") for line in lines])
            elif title == "labels":
                stage.labels |= {name: _names(value) for name, value in map(_halves, lines)}
            elif title == "runscript":
                stage.program = shlex.split(lines[0])[1:-1]  # without exec and "$@"
            else:
                assert title == "test", title
        stages.append(stage)
    return stages


def differences(dockerfile: str, definition: str) -> list[str]:
    """Say where the two recipes would make different images."""
    docker, apptainer = read_dockerfile(dockerfile), read_definition(definition)
    if len(docker) != len(apptainer):
        return [f"{len(docker)} stages and {len(apptainer)}"]
    found = []
    for number, (one, other) in enumerate(zip(docker, apptainer, strict=True)):
        ours = dict(one.variables)
        ours.pop("HOME", None)  # Apptainer's is the user's own
        pairs = {
            "base": (one.base, other.base),
            "arguments": (one.arguments, other.arguments),
            "copies": (sorted(_flat(one.copies)), sorted(_flat(other.copies))),
            "taken from the first stage": (one.taken, other.taken),
            "steps": (one.steps, other.steps),
            "variables": (ours, other.variables),
            "labels": (one.labels, other.labels),
            "program": (one.program, other.program),
        }
        found += [
            f"stage {number}, {name}: {left} and {right}"
            for name, (left, right) in pairs.items()
            if left != right
        ]
    return found


def _check_exports(lines: list[str], stage: Stage) -> None:
    """Refuse other names: a step of Apptainer sees an argument only as it is exported."""
    for name, value in _pairs([line.removeprefix("export ") for line in lines]).items():
        assert value == f"<{name}>", f"{name} is exported as {value}"
        assert name in stage.arguments, f"{name} is no argument"


def _pairs(words: list[str]) -> dict[str, str]:
    halves = [word.split("=", 1) for word in words]
    return {name: _names(value).strip('"') for name, value in halves}


def _halves(line: str) -> tuple[str, str]:
    name, value = line.split(maxsplit=1)
    return name, value


def _names(value: str) -> str:
    """Write a reference to an argument, ``${X}`` and ``{{ X }}``, in one way."""
    return re.sub(r"\$\{(\w+)\}|\{\{ (\w+) \}\}", lambda found: f"<{found[1] or found[2]}>", value)


def _copies(*words: str) -> list[tuple[str, str]]:
    *sources, target = words
    if target.endswith("/"):
        return [(source, target + source.rsplit("/", 1)[-1]) for source in sources]
    return [(sources[0], target)]


def _flat(copies: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(source.rstrip("/"), target.rstrip("/")) for source, target in copies]
