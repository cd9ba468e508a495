"""Dockerfile and Singularity.def make the same image, of what is named and of nothing else."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from container.recipes import differences, read_definition, read_dockerfile
from packaging.requirements import Requirement

from shd_bids import __version__

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / ".github/container"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
DEFINITION = (ROOT / "Singularity.def").read_text()


def test_both_recipes_make_the_same_image():
    assert differences(DOCKERFILE, DEFINITION) == []


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("debian:13.8-slim", "debian:14.0-slim"),
        ("20261125T000000Z", "20270101T000000Z"),
        ("TORCH_INDEX=\n", "TORCH_INDEX=https://download.pytorch.org/whl/cpu\n"),
        ("res-1", "res-3"),
        ("    sh /build/container/fetch-templates.sh\n", ""),
        ("install-debian.sh run", "install-debian.sh build"),
        ("    /opt/templateflow /opt/templateflow\n", ""),
        ("    workflows /build/source/workflows\n", ""),
        ("OMP_NUM_THREADS=1", "OMP_NUM_THREADS=2"),
        ("    export NO_ET=1\n", ""),
        ("TEMPLATEFLOW_HOME=/opt/", "TEMPLATEFLOW_HOME=/usr/"),
        ("licenses Apache-2.0", "licenses MIT"),
        ("exec shd-bids", "exec python"),
        ("VERSION=0.1.0", "VERSION=0.2.0"),
        ("DOCKER_TAG={{ IMAGE_TAG }}", "DOCKER_TAG=latest"),
    ],
)
def test_a_recipe_that_drifts_is_seen(was, becomes):
    assert was in DEFINITION
    assert differences(DOCKERFILE, DEFINITION.replace(was, becomes)) != []


def test_a_step_of_apptainer_that_lacks_an_argument_is_seen():
    with pytest.raises(AssertionError, match="is no argument"):
        read_definition(DEFINITION.replace("    VERSION=0.1.0\n", ""))


def test_the_image_is_of_this_version():
    assert read_dockerfile(DOCKERFILE)[-1].arguments["VERSION"] == __version__


def test_the_image_says_what_it_is_and_of_what_revision():
    labels = read_dockerfile(DOCKERFILE)[-1].labels
    prefix = "org.opencontainers.image."
    assert {name.removeprefix(prefix) for name in labels} >= {
        *("title", "description", "source", "licenses", "version", "revision", "created")
    }
    assert labels[prefix + "licenses"] == "Apache-2.0"
    assert labels[prefix + "revision"] == "<REVISION>"


def test_the_image_tells_the_program_its_name():
    from shd_bids.cli.container import find_container

    stage = read_dockerfile(DOCKERFILE)[-1]
    tag = stage.arguments["IMAGE_TAG"].replace("<VERSION>", __version__)
    assert stage.variables["SHD_BIDS_DOCKER_TAG"] == "<IMAGE_TAG>"
    found = find_container({"SHD_BIDS_DOCKER_TAG": tag})
    assert found == {"Type": "docker", "Tag": f"shd-bids/shd-bids:{__version__}"}


def test_the_image_runs_the_program_as_no_root():
    last = read_dockerfile(DOCKERFILE)[-1]
    assert last.program == ["shd-bids"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last.user)


def test_the_last_stage_takes_no_tools_that_built_it():
    build, last = read_dockerfile(DOCKERFILE)
    assert "/build/tools" in (SCRIPTS / "install-python.sh").read_text()
    assert [source for source, _ in last.taken] == ["/opt/shd-bids", "/opt/templateflow"]
    assert not [step for step in last.steps if "install-python" in step]
    assert [step for step in build.steps if "install-python" in step]


def test_no_recipe_names_a_version_but_in_an_argument():
    for text in (DOCKERFILE, DEFINITION):
        lines = [line for line in text.splitlines() if re.search(r"\d+\.\d+\.\d|==|:\d", line)]
        odd = [
            line
            for line in lines
            if not re.match(r"\s*(#|ARG |[A-Z_]+=|USER )", line) and "Apache" not in line
        ]
        assert odd == []


def test_what_is_copied_is_what_the_build_may_see():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    seen = {line[1:] for line in ignored if line.startswith("!")}
    copied = {source for stage in read_dockerfile(DOCKERFILE) for source, _ in stage.copies}
    assert "*" in ignored
    assert {source for source in copied if not source.startswith(".github/container/")} == seen
    assert all((ROOT / source).exists() for source in copied)


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda file: file.name)
def test_every_script_can_be_read_by_a_plain_shell(script):
    subprocess.run(["sh", "-n", script], check=True)
    assert "set -eu" in script.read_text()


@pytest.mark.parametrize("script", ["install-debian.sh", "install-python.sh"])
def test_a_step_that_is_not_known_is_refused(script):
    done = subprocess.run(["sh", SCRIPTS / script, "all"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "all; expected" in done.stderr


def _locked(name: str) -> dict[str, str]:
    text = (SCRIPTS / name).read_text()
    entries = re.findall(r"^([\w.-]+)==(\S+) \\\n((?:    --hash=sha256:\w+.*\n)+)", text, re.M)
    assert len(entries) == len(re.findall(r"^\w", text, re.M))  # each has hashes
    return {found: version for found, version, _ in entries}


def test_every_package_of_the_program_is_locked_to_a_version_that_it_allows():
    parts = ("requirements.txt", "requirements-source.txt", "requirements-torch.txt")
    locked = {name: version for part in parts for name, version in _locked(part).items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in project["dependencies"]:
        asked = Requirement(line)
        name = re.sub(r"[._]", "-", asked.name).lower()
        assert locked[name] in asked.specifier, f"{line}: run .github/container/lock.sh"


def test_the_image_has_the_torch_that_is_tested():
    pinned = re.findall(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert [_locked("requirements-torch.txt")["torch"]] == pinned


def test_a_build_of_torch_for_cpus_needs_nothing_of_cuda():
    apart = _locked("requirements-torch.txt")
    assert "nvidia-nccl-cu13" in apart
    assert not [name for name in _locked("requirements.txt") if name in apart or "nvidia" in name]
