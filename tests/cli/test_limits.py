"""What control groups, limits of the process and schedulers allow, on trees as kernels show."""

import json
import os
import resource
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from shd_bids.cli.limits import Allowed, _groups, allowed_cores, allowed_memory_gb

_VERSION_2 = "29 22 0:26 {shown} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
_VERSION_1 = (
    "32 31 0:29 {shown} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 {shown} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


@pytest.fixture
def make_tree(tmp_path):
    """Write a tree of control groups, and which of them this process is in."""

    def make(mounts: str, own: str, files: dict[str, str], shown: str = "/") -> Path:
        proc = tmp_path / "proc/self"
        proc.mkdir(parents=True, exist_ok=True)
        (proc / "mountinfo").write_text(mounts.format(shown=shown))
        (proc / "cgroup").write_text(own)
        for name, text in files.items():
            file = tmp_path / "sys/fs/cgroup" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n")
        return tmp_path

    return make


def _memory_gb(root: Path, environment: dict[str, str] | None = None) -> float:
    return allowed_memory_gb(root, environment or {}).amount


def test_nothing_but_the_machine_limits_where_there_is_no_group(tmp_path):
    assert allowed_memory_gb(tmp_path, {}).source == ""
    assert allowed_cores(tmp_path, {}).source == ""
    assert allowed_cores(tmp_path, {}).amount == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("limited", ["memory.max", "slurm/memory.max", "slurm/job/memory.high"])
def test_the_tightest_group_on_the_way_to_the_root_counts(make_tree, limited):
    files = {"slurm/memory.max": "max", "slurm/job/memory.max": "2000000000"}
    root = make_tree(_VERSION_2, "0::/slurm/job\n", {**files, limited: "1500000000"})
    assert _memory_gb(root) == 1.5
    assert allowed_memory_gb(root, {}).source.endswith(limited)


def test_a_group_that_this_process_is_not_in_does_not_count(make_tree):
    files = {"slurm/other/memory.max": "1", "slurm/memory.max": "3000000000"}
    assert _memory_gb(make_tree(_VERSION_2, "0::/slurm/job\n", files)) == 3.0


def test_a_group_without_a_limit_leaves_the_machine(make_tree, tmp_path):
    files = {"memory.max": "max", "cpu.max": "max 100000"}
    root = make_tree(_VERSION_2, "0::/\n", files)
    assert allowed_memory_gb(root, {}).source == allowed_cores(root, {}).source == ""


def test_version_1_names_a_group_for_each_controller(make_tree):
    own = "5:memory:/slurm/job\n3:cpu,cpuacct:/slurm\n0::/\n"
    files = {
        "memory/slurm/job/memory.limit_in_bytes": "9223372036854771712",
        "memory/slurm/memory.limit_in_bytes": "2500000000",
        "cpu,cpuacct/slurm/cpu.cfs_quota_us": "100000",
        "cpu,cpuacct/slurm/cpu.cfs_period_us": "100000",
    }
    root = make_tree(_VERSION_1, own, files)
    assert _memory_gb(root) == 2.5
    assert allowed_cores(root, {}).amount == 1


def test_a_container_of_version_1_shows_only_its_part_of_the_tree(make_tree):
    files = {"memory/memory.limit_in_bytes": "1200000000"}
    root = make_tree(_VERSION_1, "4:memory:/docker/abc\n", files, shown="/docker/abc")
    assert _memory_gb(root) == 1.2


def test_a_group_below_the_part_that_a_container_shows_counts(make_tree):
    files = {"memory/inner/memory.limit_in_bytes": "1100000000"}
    root = make_tree(_VERSION_1, "4:memory:/docker/abc/inner\n", files, shown="/docker/abc")
    assert _memory_gb(root) == 1.1


def test_a_path_out_of_the_containers_own_tree_leads_to_its_root(make_tree):
    root = make_tree(_VERSION_2, "0::/../../elsewhere\n", {"memory.max": "1300000000"})
    assert _memory_gb(root) == 1.3


@pytest.mark.parametrize("quota", ["50000 100000", "100000 100000", "199999 100000"])
def test_a_share_of_a_core_counts_as_one(make_tree, quota):
    root = make_tree(_VERSION_2, "0::/job\n", {"job/cpu.max": quota})
    assert allowed_cores(root, {}).amount == 1


@pytest.mark.parametrize("name", ["SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "NSLOTS"])
def test_a_scheduler_that_uses_no_groups_limits_cores(tmp_path, name):
    if len(os.sched_getaffinity(0)) == 1:
        pytest.skip("this machine allows one core anyway")
    assert allowed_cores(tmp_path, {name: "1"}) == Allowed(1.0, name)


@pytest.mark.parametrize("value", ["", "0", "two", "-3"])
def test_what_a_scheduler_says_is_passed_over_where_it_is_no_number(tmp_path, value):
    names = ("SLURM_CPUS_PER_TASK", "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU")
    environment = dict.fromkeys(names, value)
    assert allowed_cores(tmp_path, environment) == allowed_cores(tmp_path, {})
    assert allowed_memory_gb(tmp_path, environment) == allowed_memory_gb(tmp_path, {})


def test_slurm_limits_memory_by_node_or_by_core(tmp_path):
    assert _memory_gb(tmp_path, {"SLURM_MEM_PER_NODE": "1024"}) == pytest.approx(1.0737, abs=1e-3)
    by_core = {"SLURM_MEM_PER_CPU": "512", "SLURM_CPUS_PER_TASK": "2"}
    assert _memory_gb(tmp_path, by_core) == pytest.approx(1.0737, abs=1e-3)
    assert allowed_memory_gb(tmp_path, by_core).source == "SLURM_MEM_PER_CPU"


def test_a_group_tighter_than_slurm_says_wins(make_tree):
    root = make_tree(_VERSION_2, "0::/job\n", {"job/memory.max": "900000000"})
    assert _memory_gb(root, {"SLURM_MEM_PER_NODE": "1024"}) == 0.9


def test_the_limit_of_the_address_space_counts(tmp_path):
    code = (
        "import resource\nfrom shd_bids.cli.limits import allowed_memory_gb\n"
        "print(allowed_memory_gb())"
    )
    limit = 3_000_000_000
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.stdout.strip() == "Allowed(amount=3.0, source='ulimit -v')"


@pytest.fixture
def limited_group():
    """Make a control group below our own with 400 MB, and remove it afterwards."""
    folder = next(_groups("memory", Path("/")), None)
    name = f"shd-bids-test-{uuid.uuid4().hex[:8]}"
    try:
        group = folder / name if folder else None
        group.mkdir()
    except (OSError, AttributeError) as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        limit = group / "memory.limit_in_bytes"
        limit = limit if limit.exists() else group / "memory.max"
        limit.write_text("400000000")
        yield group
    except OSError as error:
        pytest.skip(f"no limit can be set here: {error}")
    finally:
        group.rmdir()


def test_the_kernels_own_group_is_found(limited_group):
    code = (
        "import json\nfrom shd_bids.cli.limits import allowed_memory_gb\n"
        "found = allowed_memory_gb()\nprint(json.dumps([found.amount, found.source]))"
    )
    tasks = limited_group / "cgroup.procs"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: tasks.write_text(str(os.getpid())),
    )
    amount, source = json.loads(done.stdout)
    assert amount == pytest.approx(0.4, abs=1e-4)
    assert Path(source).parent == limited_group
