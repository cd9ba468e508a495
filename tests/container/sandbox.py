"""A container runtime in a page: namespaces, bind mounts and no privileges, by util-linux alone.

What Docker and Apptainer do to a process, as far as our program can notice it, one by one.
"""

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_DEVICES = ("null", "zero", "full", "random", "urandom")


@dataclass(frozen=True)
class Sandbox:
    """The conditions that a command runs under."""

    variables: Mapping[str, str | None] = field(default_factory=dict)  # None: not set at all
    user: int = 1000
    read_only_root: bool = False
    network: bool = True
    capabilities: bool = True  # as far as a user who is not root has any
    binds: Mapping[str, Path] = field(default_factory=dict)  # folder in the image: ours
    read_only: frozenset[str] = frozenset()  # folders in the image
    cwd: str = "/work"


def run_in(
    root: Path, scratch: Path, command: Sequence[str], sandbox: Sandbox, *, timeout: float
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a command in an image.

    Parameters
    ----------
    root
        The image's files; they stay as they are.
    scratch
        An empty folder, for what the command writes to the image.
    command, sandbox
        What runs, and under what conditions.
    timeout
        In seconds.

    Returns
    -------
    done, written
        How it ended; the files that it wrote to the image.
    """
    for name in ("upper", "overlay", "seen"):
        (scratch / name).mkdir()
    script = [
        "set -eu",
        "mount --make-rprivate /",
        f"cd {shlex.quote(str(scratch))}",
        f"mount -t overlay -o lowerdir={root},upperdir=upper,workdir=overlay overlay seen",
        "mkdir -p " + " ".join(f"seen{place}" for place in ("/proc", "/dev", *sandbox.binds)),
        "mount -t proc proc seen/proc",
        "mount -t tmpfs -o mode=755 dev seen/dev",
        *(f"touch seen/dev/{d}; mount --bind /dev/{d} seen/dev/{d}" for d in _DEVICES),
        "ln -s /proc/self/fd seen/dev/fd",
        "mkdir seen/dev/shm; mount -t tmpfs -o mode=1777,size=64m shm seen/dev/shm",  # as Docker's
        *(
            f"mount --bind {shlex.quote(str(ours))} seen{place}"
            for place, ours in sandbox.binds.items()
        ),
        *(f"mount -o remount,bind,ro seen{place}" for place in sandbox.read_only),
    ]
    if sandbox.read_only_root:
        script.append("mount -o remount,ro seen")
    variables = {name: value for name, value in sandbox.variables.items() if value is not None}
    inside = ["env", "-i", *(f"{name}={value}" for name, value in variables.items()), *command]
    drop = ["--reuid", str(sandbox.user), "--regid", str(sandbox.user), "--clear-groups"]
    if not sandbox.capabilities:
        drop += ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    enter = shlex.join(["/usr/bin/setpriv", *drop, *inside])
    # not by exec: whoever becomes another user no longer dies with us, but the first process does,
    # and all of its namespace with it
    script.append(
        "chroot seen /bin/sh -c "
        + shlex.quote(f"cd {shlex.quote(sandbox.cwd)} && exec {enter}")
        + "; exit $?"
    )
    spaces = ["unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child"]
    spaces += [] if sandbox.network else ["--net"]
    done = subprocess.run(
        [*spaces, "sh", "-c", "\n".join(script)], capture_output=True, text=True, timeout=timeout
    )
    upper = scratch / "upper"
    written = [
        f"/{file.relative_to(upper)}"
        for file in upper.rglob("*")
        if not file.is_dir() or file.is_symlink()
    ]
    return done, sorted(written)
