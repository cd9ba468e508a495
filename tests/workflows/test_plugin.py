"""A graph survives the death of a node's process."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from control_groups import limited_group
from nipype import Function, Node, Workflow, config
from shd_workflows.plugin import ResilientPlugin
from shd_workflows.task import TaskSettings


def _die(value: int) -> int:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)
    return value


def _fail(value: int) -> int:
    raise ValueError("the sum is not right")


def _add(value: int) -> int:
    return value + 1


def _slow(value: int) -> int:
    import time

    time.sleep(3)
    return value + 1


def _fill(value: int) -> int:
    held = b"x" * 400_000_000
    return len(held)


def _fill_in_a_program(value: int) -> int:
    import subprocess
    import sys

    subprocess.run([sys.executable, "-c", "held = b'x' * 600_000_000"], check=True)
    return value


def _environment(value: int) -> str:
    import os

    return os.environ.get("CUDA_VISIBLE_DEVICES", "none")


@pytest.fixture
def make_graph(tmp_path):
    def make(**steps):
        graph = Workflow("graph", base_dir=str(tmp_path / "work"))
        graph.config["execution"] = {
            "crashdump_dir": str(tmp_path / "crash"),
            "crashfile_format": "txt",
            "poll_sleep_duration": "0.01",
        }
        for name, function in steps.items():
            node = Node(Function(["value"], ["out"], function), name=name, mem_gb=0.1)
            node.inputs.value = 1
            graph.add_nodes([node])
        return graph

    return make


def test_a_killed_node_fails_with_a_crash_file_and_the_others_finish(make_graph, tmp_path):
    graph = make_graph(die=_die, slow=_slow, free=_add)
    after = Node(Function(["value"], ["out"], _add), name="after_death")
    rest = Node(Function(["value"], ["out"], _add), name="after_free")
    graph.connect([
        (graph.get_node("die"), after, [("out", "value")]),
        (graph.get_node("free"), rest, [("out", "value")]),
    ])  # fmt: skip
    with pytest.raises(RuntimeError, match=r"killed by SIGKILL.*out of memory"):
        graph.run(plugin=ResilientPlugin(n_procs=3, memory_gb=2))
    crashes = list((tmp_path / "crash").glob("crash-*.txt"))
    assert len(crashes) == 1
    assert "die" in crashes[0].name
    results = {path.parent.name for path in (tmp_path / "work").rglob("result_*.pklz")}
    assert {"slow", "free", "after_free"} <= results
    assert "after_death" not in results


def test_a_node_that_raises_leaves_its_message_in_the_crash_file(make_graph, tmp_path):
    with pytest.raises(RuntimeError, match="the sum is not right"):
        make_graph(fail=_fail, free=_add).run(plugin=ResilientPlugin(n_procs=2, memory_gb=2))
    (crash,) = (tmp_path / "crash").glob("crash-*.txt")
    assert "the sum is not right" in crash.read_text()


def test_the_memory_of_a_node_and_of_its_programs_is_measured(make_graph, caplog):
    graph = make_graph(fill=_fill, program=_fill_in_a_program, free=_add)
    graph.get_node("program")._mem_gb = 2.0
    told = {}
    plugin = ResilientPlugin(n_procs=1, memory_gb=4, on_step=told.__setitem__)
    with caplog.at_level(logging.INFO):
        graph.run(plugin=plugin)
    peaks_gb = {name.split(".")[-1]: use.peak_gb for name, use in plugin.used.items()}
    assert told == plugin.used
    assert peaks_gb["fill"] == pytest.approx(0.41, abs=0.05)
    assert peaks_gb["program"] == pytest.approx(0.61, abs=0.05)
    assert peaks_gb["free"] < 0.1
    assert "fill took 0.4 GB, more than the 0.1 GB it declares" in caplog.text
    assert "program took" not in caplog.text


def test_a_second_run_takes_everything_from_the_cache(make_graph):
    make_graph(free=_add).run(plugin=ResilientPlugin(n_procs=1, memory_gb=1))
    plugin = ResilientPlugin(n_procs=1, memory_gb=1)
    make_graph(free=_add).run(plugin=plugin)
    assert plugin.used == {}
    assert not plugin.unfinished


def test_stopping_ends_the_running_processes():
    plugin = ResilientPlugin(n_procs=1, memory_gb=1)
    node = Node(Function(["value"], ["out"], _slow), name="slow")
    node.config = dict(config._sections)
    taskid = plugin._submit_job(node)
    process = plugin._tasks[taskid].process
    pid = process.pid
    plugin.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_node_says_nothing_to_the_other_participants_logs(tmp_path, make_graph):
    logs = {"graph": tmp_path / "own.log", "sub_02_wf": tmp_path / "other.log"}
    settings = TaskSettings(log_files=logs)
    make_graph(free=_add).run(plugin=ResilientPlugin(n_procs=1, memory_gb=1, settings=settings))
    assert "free" in logs["graph"].read_text()
    assert not logs["sub_02_wf"].exists()


_GREEDY = """
import sys
from pathlib import Path
from nipype import Function, Node, Workflow
from shd_workflows.plugin import ResilientPlugin

def fill():
    held = []
    while True:
        held.append(b"x" * 50_000_000)

def count():
    return 3

def main():
    graph = Workflow("graph", base_dir=sys.argv[1])
    graph.config["execution"] = {"crashdump_dir": sys.argv[1], "crashfile_format": "txt"}
    nodes = [Node(Function([], ["out"], f), name=f.__name__, mem_gb=0.1) for f in (fill, count)]
    graph.add_nodes(nodes)
    plugin = ResilientPlugin(n_procs=1, memory_gb=1.0)
    try:
        graph.run(plugin=plugin)
    except RuntimeError:
        pass
    print(plugin.failures[0].message)
    print([name.split(".")[-1] for name in plugin.unfinished])

if __name__ == "__main__":
    main()
"""


def test_a_step_that_the_kernel_ends_for_memory_is_told_and_the_others_finish(tmp_path):
    script = tmp_path / "greedy.py"
    script.write_text(_GREEDY)
    with limited_group(1_500_000_000) as (_, enter):
        done = subprocess.run(
            [sys.executable, script, tmp_path],
            capture_output=True,
            text=True,
            preexec_fn=enter,
        )
    said = done.stdout.strip().splitlines()
    assert done.returncode == 0, done.stderr
    assert "fill failed: The process of graph.fill ended" in said[-2]
    assert "killed by SIGKILL. Most often the system ran out of memory" in said[-2]
    assert said[-1] == "['fill']"


def test_the_run_sleeps_until_a_step_ends(make_graph):
    graph = make_graph(wait=_slow)
    plugin = ResilientPlugin(n_procs=1, memory_gb=1)
    looks, look = [], plugin._get_result
    plugin._get_result = lambda taskid: (looks.append(taskid), look(taskid))[1]
    graph.run(plugin=plugin)
    assert plugin.used["graph.wait"].seconds >= 3
    assert len(looks) < 30  # nipype alone: 50 in a second


def test_the_resource_monitor_samples_every_step_also_beside_one_that_fails(make_graph, tmp_path):
    file, here = tmp_path / "resource_monitor.json", set(Path.cwd().iterdir())
    graph = make_graph(free=_add, fail=_fail)
    with pytest.raises(RuntimeError):
        graph.run(
            plugin=ResilientPlugin(n_procs=2, memory_gb=1, settings=TaskSettings(monitor_file=file))
        )
    samples = json.loads(file.read_text())
    assert "graph.free" in samples["name"]
    assert min(samples["rss_GiB"]) > 0
    assert set(Path.cwd().iterdir()) == here  # nipype would leave samples in the user's folder
    assert not list(tmp_path.glob(".proc-*"))  # nor here
