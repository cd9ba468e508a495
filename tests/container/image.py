"""The image made here for real: Debian's root by debootstrap, Dockerfile's steps by buildah."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_TOOLS = ("buildah", "debootstrap")
_MIRROR = "http://deb.debian.org/debian"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def need_tools() -> None:
    """Have what builds an image, or skip."""
    if os.geteuid() != 0:
        pytest.skip("an image is built by root")
    missing = [name for name in _TOOLS if shutil.which(name) is None]
    if missing and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        command = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing]
        for words in (["apt-get", "update", "-qq"], command):
            subprocess.run(words, env=quiet, capture_output=True, check=False)
    missing = [name for name in _TOOLS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} cannot be installed")


@contextmanager
def built_image(folder: Path, arguments: Mapping[str, str]) -> Iterator[Path]:
    """Build the image and give its files.

    Parameters
    ----------
    folder
        For all that is made on the way; some 25 GB. Nothing of it is left.
    arguments
        Of Dockerfile, beside the base image, which is Debian's own files of the same release.

    Yields
    ------
    Path
        Root of the image, mounted. Do not write.
    """
    base, pip = folder / "base", folder / "pip.conf"
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", "trixie", base, _MIRROR],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"debootstrap: {made.stdout[-300:]}")
    # a network that looks into TLS has certificates of its own
    pip.write_text("[global]\ncert = /etc/host-certificates.crt\ntimeout = 120\n")
    store = ["buildah", "--root", folder / "store", "--runroot", folder / "run"]
    store += ["--storage-driver", "overlay"]

    # an interruption must not leave the steps running, which are in no group of ours
    alone = ["unshare", "--pid", "--mount-proc", "--fork", "--kill-child"]

    def buildah(*words: str | Path) -> str:
        command = [*(alone if words[0] == "bud" else []), *store, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words[0]}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout.strip()

    try:
        empty = buildah("from", "scratch")
        buildah("add", "--quiet", empty, base, "/")
        buildah("commit", "--quiet", "--rm", empty, "localhost/debian:13")
        shutil.rmtree(base)
        given = {"BASE_IMAGE": "localhost/debian:13", "DEBIAN_SNAPSHOT": "", **arguments}
        buildah(
            *("bud", "--isolation", "chroot", "--pull-never", "--format", "docker"),
            *("--volume", f"{_CERTIFICATES}:/etc/host-certificates.crt:ro"),
            *("--volume", f"{pip}:/etc/pip.conf:ro", "--tag", "localhost/shd-bids:test"),
            *(word for name, value in given.items() for word in ("--build-arg", f"{name}={value}")),
            ROOT,
        )
        container = buildah("from", "--pull-never", "localhost/shd-bids:test")
        yield Path(buildah("mount", container))
    finally:
        for words in (["rm", "--all"], ["rmi", "--all", "--force"]):
            subprocess.run([*store, *words], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)
