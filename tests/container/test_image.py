"""The image is built from Dockerfile, and its program runs under whatever a runtime takes away.

Each condition alone, then all at once. The root is Debian's, made here; the network is needed for
Debian's and Python's packages. With SHD_BIDS_TEST_ROOT=DIR the files of an image that was built
already are taken.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from container.image import built_image, need_tools
from container.recipes import read_dockerfile
from container.sandbox import Sandbox, run_in

from shd_bids import __version__

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STRANGER = 12345  # has no entry in /etc/passwd
SHORT = ("--level", "preproc", "--denoise-method", "none", "--hmc", "none")
FULL = ("--fod-model", "shd-tv", "csd", "--shd-steps", "5", "--lmax", "4", "--n-streamlines", "100")
ALONE = ("--nprocs", "1", "--omp-nthreads", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Iterator[Path]:
    """Files of the image."""
    if given := os.environ.get("SHD_BIDS_TEST_ROOT"):
        yield Path(given)
        return
    need_tools()
    arguments = {"TEMPLATES": "", "REVISION": "0123abc"}
    with built_image(tmp_path_factory.mktemp("image"), arguments) as root:
        yield root


@pytest.fixture(scope="module")
def environment() -> dict[str, str | None]:
    """Variables of the image, as a runtime sets them."""
    last = read_dockerfile((ROOT / "Dockerfile").read_text())[-1]
    tag = last.arguments["IMAGE_TAG"].replace("<VERSION>", __version__)
    return {name: value.replace("<IMAGE_TAG>", tag) for name, value in last.variables.items()}


@pytest.fixture
def log(capfd) -> Callable[[str], None]:
    """Write a line that is seen while tests run."""

    def say(line: str) -> None:
        with capfd.disabled():
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    return say


def _digest(folder: Path) -> str:
    content = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        content.update(f"{file.relative_to(folder)} {file.stat().st_mtime_ns}".encode())
        content.update(file.read_bytes() if file.is_file() else b"")
    return content.hexdigest()


@pytest.fixture
def places(tmp_path, tiny_phantom_dir) -> dict[str, Path]:
    """Input, output and work directory on this side; pytest's folders are closed to others."""
    folder = Path("/var/tmp") / f"shd-bids-{os.getpid()}-{tmp_path.name}"
    folder.mkdir()
    shutil.copytree(tiny_phantom_dir, folder / "data")
    for name in ("out", "scratch", "host", "seen"):
        (folder / name).mkdir()
    yield {name: folder / name for name in ("data", "out", "scratch", "host", "seen")}
    shutil.rmtree(folder)


def _leak(host: Path) -> dict[str, str | None]:
    """Fill a user's home, and give the variables that Apptainer would bring along."""
    for folder in ("pythonpath", ".local/lib/python3.13/site-packages"):
        for module in ("numpy", "nipype", "torch", "shd_bids"):
            (host / folder / module).mkdir(parents=True)
            (host / folder / module / "__init__.py").write_text("raise SystemExit('of the host')")
    (host / ".nipype").mkdir()
    (host / ".nipype/nipype.cfg").write_text("[execution]\nstop_on_first_crash = true\nplugin = X")
    (host / "nipype.cfg").write_text(
        "[execution]\nkeep_inputs = true\nremove_unnecessary_outputs = true"
    )
    return {
        "HOME": "/home/me",
        "PYTHONPATH": "/home/me/pythonpath",
        "PYTHONHOME": "/opt/conda",
        "PYTHONUSERBASE": "/home/me/.local",
        "PYTHONSTARTUP": "/home/me/start.py",
        "LD_LIBRARY_PATH": "/opt/cuda/lib64:/opt/conda/lib",
        "TMPDIR": "/scratch/local/of/the/host",
        "TEMPLATEFLOW_HOME": "/shared/templateflow",
        "XDG_RUNTIME_DIR": "/run/user/12345",
        "MPLCONFIGDIR": "/home/me/.config/matplotlib",
        "DISPLAY": ":0",
        "LANG": "de_DE.UTF-8",
        "LC_ALL": "de_DE.UTF-8",
        "OMP_NUM_THREADS": "64",
    }


ALL = {
    "user": STRANGER,
    "read_only_root": True,
    "network": False,
    "capabilities": False,
    "read_only": frozenset({"/data"}),
}
CONDITIONS = {
    "as `docker run` does": ({}, {}, FULL),
    "read-only root, no /tmp": ({"read_only_root": True}, {}, SHORT),
    "a user without an entry": ({"user": STRANGER}, {}, SHORT),
    "no network": ({"network": False}, {}, SHORT),
    "read-only input": ({"read_only": frozenset({"/data"})}, {}, SHORT),
    "no capabilities": ({"capabilities": False}, {}, SHORT),
    "HOME is not set": ({"user": STRANGER}, {"HOME": None}, SHORT),
    "HOME=/": ({"user": STRANGER}, {"HOME": "/"}, SHORT),
    "all at once": (ALL, {}, FULL),
    "all at once, HOME is not set": (ALL, {"HOME": None}, SHORT),
    "as Apptainer does, with what the host leaks": (
        ALL | {"cwd": "/home/me"},
        {"leak": "1"},
        SHORT,
    ),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_the_program_runs(name, image, environment, places, log):
    conditions, variables, flags = CONDITIONS[name]
    binds = {f"/{key}": places[key] for key in ("data", "out", "scratch")}
    own = {**environment, **variables}
    read_only = conditions.get("read_only", frozenset())
    if own.pop("leak", None):
        own |= _leak(places["host"])
        binds["/home/me"] = places["host"]
        read_only |= {"/home/me"}
    sandbox = replace(Sandbox(own, binds=binds), **{**conditions, "read_only": read_only})
    for key in ("out", "scratch", "host"):
        for file in (places[key], *places[key].rglob("*")):
            os.chown(file, sandbox.user, sandbox.user)
    before = _digest(places["data"])
    command = ["shd-bids", "/data", "/out", "participant", "-w", "/scratch", *ALONE, *flags]
    start = time.monotonic()
    done, written = run_in(image, places["seen"], command, sandbox, timeout=3000)
    said = done.stdout.strip().splitlines() or [""]
    log(f"{name}: exit code {done.returncode} after {time.monotonic() - start:.0f} s; {said[-1]}")
    for line in done.stderr.splitlines():
        if line.startswith("shd-bids:"):
            log(f"    {line}")
    log(f"    written to the image: {', '.join(written) or 'nothing'}")

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert said[-1] == "shd-bids finished: 1 of 1 participant(s)."
    assert (places["out"] / "sub-01.html").stat().st_size > 10_000
    assert _digest(places["data"]) == before
    elsewhere = [file for file in written if not file.startswith(("/home/shd-bids/", "/tmp/"))]
    assert not elsewhere
    assert not written or not sandbox.read_only_root
    owners = {file.stat().st_uid for file in places["out"].rglob("*")}
    assert owners == {sandbox.user}
    description = json.loads((places["out"] / "dataset_description.json").read_text())
    container = description["GeneratedBy"][0]["Container"]
    assert container == {"Type": "docker", "Tag": f"shd-bids/shd-bids:{__version__}"}


def test_the_program_says_its_version_with_nothing_at_all(image, places, log):
    sandbox = Sandbox({"PATH": "/opt/shd-bids/bin:/usr/bin:/bin"}, **{**ALL, "cwd": "/"})
    sandbox = replace(sandbox, read_only=frozenset())
    done, _ = run_in(image, places["seen"], ["shd-bids", "--version"], sandbox, timeout=600)
    log(f"--version, no variable but PATH: exit code {done.returncode}; {done.stdout.strip()}")
    assert (done.returncode, done.stdout.strip()) == (0, f"shd-bids {__version__}"), done.stderr


def test_without_a_template_and_without_a_network_the_message_says_what_to_do(
    image, environment, places, log
):
    """The call is wrong, so that it ends at once."""
    binds = {f"/{key}": places[key] for key in ("data", "out", "scratch")}
    sandbox = replace(Sandbox(environment, binds=binds), **ALL)
    code = (
        "from shd_bids.anat.template import find_template as f; import shd_bids.errors as e\n"
        "try: f(download=True)\nexcept e.AnatomyError as error: print(error)"
    )
    done, _ = run_in(image, places["seen"], ["python", "-c", code], sandbox, timeout=600)
    log(f"no template, no network: {done.stdout.strip()}")
    assert "fetching it failed" in done.stdout, done.stdout + done.stderr
    assert "/opt/templateflow cannot be written" in done.stdout
    assert "TEMPLATEFLOW_HOME set to a folder of yours" in done.stdout
    assert len(done.stdout) < 1200


def test_a_template_that_is_baked_is_found_by_anybody(image, environment, places, log):
    """Stand-ins, since TemplateFlow's own files cannot be had everywhere; baked as files are."""
    head = "tpl-MNI152NLin2009cAsym/tpl-MNI152NLin2009cAsym_res-01"
    templates = places["host"] / "templateflow"
    shutil.copytree(image / "opt/templateflow", templates)
    for end in ("T1w", "desc-brain_mask"):
        (templates / f"{head}_{end}.nii.gz").write_bytes(b"x")
    binds = {"/opt/templateflow": templates}
    sandbox = replace(
        Sandbox(environment, binds=binds), **(ALL | {"read_only": frozenset(binds), "cwd": "/"})
    )
    code = "from shd_bids.anat.template import find_template as f; print(f().t1w_file)"
    done, _ = run_in(image, places["seen"], ["python", "-c", code], sandbox, timeout=600)
    log(f"a baked template, read-only, another user: {done.stdout.strip()}")
    assert done.stdout.strip() == f"/opt/templateflow/{head}_T1w.nii.gz", done.stderr


def test_the_image_holds_no_compiler_no_tests_and_no_cache(image, log):
    found = [
        name
        for name in ("gcc", "cc", "g++", "make", "pip", "pip3", "git", "curl", "wget")
        for folder in ("usr/bin", "usr/local/bin", "opt/shd-bids/bin")
        if (image / folder / name).exists()
    ]
    assert found == []
    assert not (image / "build").exists()
    assert not (image / "root/.cache").exists()
    assert not list((image / "var/lib/apt/lists").glob("*Packages*"))
    size = subprocess.run(["du", "-sm", image, image / "opt/shd-bids"], capture_output=True)
    log(f"MB of the image, and of its Python: {size.stdout.decode().split()[::2]}")


def test_nobody_gains_rights_by_a_file_of_the_image(image):
    """Debian's few programs with the set-uid bit; ours adds none, and no file anyone may change."""
    search = ["find", image / "opt", "-xdev", "-perm", "/6000"]
    assert subprocess.run(search, capture_output=True).stdout == b""
    search = ["find", image / "opt/shd-bids", "-xdev", "!", "-type", "l", "-perm", "/022"]
    assert subprocess.run(search, capture_output=True).stdout == b""


def test_the_image_draws_and_weighs_with_what_it_brings(image, environment, places, log):
    sandbox = replace(Sandbox(environment), **(ALL | {"read_only": frozenset(), "cwd": "/"}))
    done, _ = run_in(image, places["seen"], ["tcksift2", "-version"], sandbox, timeout=600)
    log(done.stdout.splitlines()[0])
    assert done.returncode == 0
