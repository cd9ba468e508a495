"""How many cores and how much memory this process may use, and who says so.

The kernel shows a process all of the machine whatever it is allowed of it. What it is allowed
stands with its control groups (containers, Slurm, systemd), its own limits and its scheduler.
"""

import os
import resource
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/")
_CORES = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "NSLOTS", "PBS_NCPUS", "LSB_DJOB_NUMPROC")
_MEMORY_FILES = ("memory.max", "memory.high", "memory.limit_in_bytes")  # versions 2, 2 and 1
_MB = 1024.0**2  # as Slurm counts


@dataclass(frozen=True)
class Allowed:
    """How much of something may be used, and who limits it; nobody but the machine if empty."""

    amount: float
    source: str = ""

    def or_less(self, amount: float, source: str) -> "Allowed":
        """Give the smaller of two.

        Examples
        --------
        >>> Allowed(8.0).or_less(4.0, "NSLOTS").or_less(6.0, "cpu.max")
        Allowed(amount=4.0, source='NSLOTS')
        """
        return Allowed(amount, source) if amount < self.amount else self


def allowed_cores(root: Path = _ROOT, environment: Mapping[str, str] | None = None) -> Allowed:
    """Find how many cores this process may use.

    Parameters
    ----------
    root
        Of the file system.
    environment
        Of the process, by default.

    Returns
    -------
    Allowed
        A whole number of cores, at least one: a share of a core counts as one, and a core and a
        half as one, too, because the kernel halts who takes more than the quota.
    """
    environment = os.environ if environment is None else environment
    if hasattr(os, "sched_getaffinity"):
        allowed = Allowed(float(len(os.sched_getaffinity(0))))
    else:  # macOS
        allowed = Allowed(float(os.cpu_count() or 1))
    for folder in _groups("cpu", root):
        quota = _read_words(folder / "cpu.max")
        if not quota:  # version 1
            quota = _read_words(folder / "cpu.cfs_quota_us")
            quota += _read_words(folder / "cpu.cfs_period_us")
        if len(quota) == 2 and all(word.isdigit() for word in quota):  # "max" and -1: no limit
            period = int(quota[1]) or 100_000
            allowed = allowed.or_less(
                max(1.0, float(int(quota[0]) // period)), f"the quota of {folder}"
            )
    for name in _CORES:
        if _is_count(environment.get(name)):
            return allowed.or_less(float(environment[name]), name)
    return allowed


def allowed_memory_gb(root: Path = _ROOT, environment: Mapping[str, str] | None = None) -> Allowed:
    """Find how much memory this process may use, GB.

    Parameters
    ----------
    root
        Of the file system.
    environment
        Of the process, by default.
    """
    environment = os.environ if environment is None else environment
    allowed = Allowed(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)
    for folder in _groups("memory", root):
        for name in _MEMORY_FILES:
            words = _read_words(folder / name)
            if words and words[0].isdigit():  # not "max"
                allowed = allowed.or_less(int(words[0]) / 1e9, f"{folder / name}")
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        allowed = allowed.or_less(soft / 1e9, "ulimit -v")
    if _is_count(environment.get("SLURM_MEM_PER_NODE")):  # 0 is all that the node has
        per_node = int(environment["SLURM_MEM_PER_NODE"])
        allowed = allowed.or_less(per_node * _MB / 1e9, "SLURM_MEM_PER_NODE")
    elif _is_count(environment.get("SLURM_MEM_PER_CPU")):
        n_core = next((environment[name] for name in _CORES[:2] if name in environment), "1")
        per_core = int(environment["SLURM_MEM_PER_CPU"]) * int(n_core if _is_count(n_core) else 1)
        allowed = allowed.or_less(per_core * _MB / 1e9, "SLURM_MEM_PER_CPU")
    return allowed


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Give the folders of this process's control group and of all around it, the inmost first.

    Every one of them limits what those within it may use. A container sees its own as the root.
    """
    own = _own_groups(root / "proc/self/cgroup")
    for mount in _mounts(root / "proc/self/mountinfo"):
        if controller not in mount.controllers:
            continue
        group = own.get("" if mount.is_unified else controller, "/")
        top = root / mount.point.lstrip("/")
        # A container's mount may show a part of the tree only, below what its path names.
        below = os.path.relpath(group, mount.shown) if group.startswith(mount.shown) else "."
        folder = top if below.startswith("..") else top / below
        yield from (place for place in (folder, *folder.parents) if place.is_relative_to(top))


@dataclass(frozen=True)
class _Mount:
    point: str
    shown: str  # group that is seen as the root
    is_unified: bool
    controllers: frozenset[str]


def _mounts(file: Path) -> Iterator[_Mount]:
    """List the trees of control groups, of version 1 and 2, that are mounted."""
    for line in _read_lines(file):
        front, _, back = line.partition(" - ")
        fields, kind = front.split(), back.split()
        if len(fields) < 5 or not kind or kind[0] not in ("cgroup", "cgroup2"):
            continue
        unified = kind[0] == "cgroup2"
        names = {"cpu", "memory"} if unified else set(kind[-1].split(","))
        yield _Mount(fields[4], fields[3], unified, frozenset(names))


def _own_groups(file: Path) -> dict[str, str]:
    """Read the path of this process's group by controller; of version 2 under an empty name."""
    groups: dict[str, str] = {}
    for line in _read_lines(file):
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        groups |= dict.fromkeys(controllers.split(","), path)
    return groups


def _is_count(word: str | None) -> bool:
    return word is not None and word.isdigit() and int(word) > 0


def _read_words(file: Path) -> list[str]:
    return " ".join(_read_lines(file)).split()


def _read_lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
