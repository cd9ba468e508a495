"""Large steps as Slurm jobs, with a Slurm that runs them here."""

import logging
import os
import shlex
import signal
import threading
from pathlib import Path

import pytest
from cluster import fake_slurm
from cluster.fake_slurm import calls, install, read_jobs, set_state, wait_for
from nipype import Function, Node, Workflow
from shd_workflows.node_job import JobFiles
from shd_workflows.slurm import SlurmPlugin
from shd_workflows.slurm_job import Job
from shd_workflows.task import TaskSettings

from shd_bids.errors import ConfigError


def _add(value: int) -> int:
    return value + 1


def _fail(value: int) -> int:
    raise ValueError("the sum is not right")


def _train(value: int, go_file: str) -> int:
    import pathlib
    import sys

    from shd_bids.interfaces.process import run_program

    file = pathlib.Path(go_file)
    program = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
    if not file.exists():
        started = str(file.with_suffix(".started"))
        run_program([sys.executable, "-c", program, started], pathlib.Path())
    return value + 1


def _wait(value: int, go_file: str) -> int:
    import pathlib
    import time

    pathlib.Path(go_file).with_suffix(".started").touch()
    while not pathlib.Path(go_file).exists():
        time.sleep(0.05)
    return value + 1


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "slurm"
    for name, value in install(folder).items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture(autouse=True)
def _look_often(monkeypatch) -> None:
    monkeypatch.setattr("shd_workflows.slurm._RESULT_SECONDS", 0.1)


@pytest.fixture
def graph(tmp_path) -> Workflow:
    graph = Workflow("graph", base_dir=str(tmp_path / "wo'rk $(touch hit); %j"))
    graph.config["execution"] = {
        "crashdump_dir": str(tmp_path / "crash"),
        "crashfile_format": "txt",
    }
    return graph


def _node(function, name, mem_gb=1.0, **inputs) -> Node:
    node = Node(Function(["value", *inputs], ["out"], function), name=name, mem_gb=mem_gb)
    node.inputs.trait_set(value=1, **inputs)
    return node


def _plugin(graph, **arguments) -> SlurmPlugin:
    given = {"poll_seconds": 0.2, "retry_timeout": 0.1, **arguments}
    jobs_dir = Path(graph.base_dir) / "jobs"
    log_files = {"graph": Path(graph.base_dir) / "graph.log"}
    settings = TaskSettings(log_files=log_files)
    return SlurmPlugin(
        arguments=given, jobs_dir=jobs_dir, n_procs=1, memory_gb=2, settings=settings
    )


def test_large_steps_are_jobs_and_small_ones_are_not(slurm, graph, tmp_path):
    large, small = _node(_add, "large"), _node(_add, "small", mem_gb=0.2)
    after = _node(_add, "after")
    graph.connect([(large, small, [("out", "value")]), (small, after, [("out", "value")])])
    plugin = _plugin(graph, sbatch_args=["--account=lab", "--mem", "7G"])
    graph.run(plugin=plugin)
    assert not plugin.unfinished
    assert set(plugin.used) == {"graph.large", "graph.small", "graph.after"}
    assert plugin.used["graph.large"].peak_gb is not None
    first, second = calls(slurm, "sbatch")
    assert "--job-name=shd-bids graph large" in first
    assert "--cpus-per-task=1" in first
    assert first[-4:-1] == ["--account=lab", "--mem", "7G"]
    assert not [word for word in first if word.startswith("--mem=")]
    assert "--job-name=shd-bids graph after" in second
    # a work directory with a name that a shell would run, and that Slurm would fill in
    assert list(tmp_path.rglob("hit")) == []
    assert "large" in (Path(graph.base_dir) / "graph.log").read_text()
    assert sorted((Path(graph.base_dir) / "jobs").rglob("*.*")) == []


def test_what_jobs_have_done_is_not_done_again(slurm, graph):
    graph.add_nodes([_node(_add, "large")])
    graph.run(plugin=_plugin(graph))
    plugin = _plugin(graph)
    graph.run(plugin=plugin)
    assert not plugin.unfinished
    assert len(calls(slurm, "sbatch")) == 1


def test_the_memory_and_the_cards_of_a_step_are_asked_for(slurm, graph):
    node = _node(_add, "fit", mem_gb=4.5)
    node.inputs.add_trait("use_gpu", True)
    options = _plugin(graph)._options(node, _files(graph))
    assert "--mem=5723M" in options
    assert "--gres=gpu:1" in options
    assert _plugin(graph, sbatch_args=["--gpus=2"])._options(node, _files(graph))[-1] == "--gpus=2"
    template = "#!/bin/bash\n#SBATCH --mem-per-cpu=4G\nmodule load cuda\n"
    options = _plugin(graph, template=template)._options(node, _files(graph))
    assert not [word for word in options if word.startswith("--mem")]


def _files(graph):
    return JobFiles(Path(graph.base_dir), "fit")


def test_the_head_of_the_script_is_the_users_and_all_words_are_quoted(slurm, graph):
    (slurm / "hold").touch()
    plugin = _plugin(graph, template="#!/bin/bash -l\nmodule load cuda")
    node = _node(_add, "large")
    node.base_dir = graph.base_dir
    node.config = {"execution": {}}
    plugin._submit_job(node)
    (job,) = read_jobs(slurm).values()
    lines = Path(job["script"]).read_text().splitlines()
    assert lines[:2] == ["#!/bin/bash -l", "module load cuda"]
    assert shlex.split(lines[-1])[-1] == job["script"].removesuffix(".sh") + ".pkl"


def test_a_template_that_is_no_file_is_refused(slurm, graph):
    with pytest.raises(ConfigError, match=r"template 'site.sh' is no file"):
        _plugin(graph, template="site.sh")


def test_a_step_that_raises_fails_with_its_message_and_the_others_finish(slurm, graph, tmp_path):
    graph.add_nodes([_node(_fail, "fail"), _node(_add, "free", mem_gb=0.1)])
    plugin = _plugin(graph)
    with pytest.raises(RuntimeError, match="the sum is not right"):
        graph.run(plugin=plugin)
    assert plugin.unfinished == {"graph.fail"}
    assert [failure.message for failure in plugin.failures] == ["fail failed: the sum is not right"]
    (crash,) = (tmp_path / "crash").glob("crash-*.txt")
    assert "the sum is not right" in crash.read_text()


@pytest.mark.parametrize(
    ("state", "status", "said"),
    [
        ("CANCELLED", 15, r"ended without a result \(CANCELLED, exit code 143\)\. Somebody"),
        ("TIMEOUT", 0, r"\(TIMEOUT\)\. It reached its time limit: give more.*--time"),
        ("OUT_OF_MEMORY", 9, r"\(OUT_OF_MEMORY, exit code 137\)\. Give more memory.*--mem"),
        ("NODE_FAIL", 0, "The machine that it ran on failed"),
        ("FAILED", 9, "exit code 137.*most often memory ran out"),
    ],
)
def test_a_job_that_is_ended_fails_its_step_and_says_how(
    slurm, graph, tmp_path, state, status, said
):
    (slurm / "hold").touch()
    ended = _node(_add, "ended")
    graph.connect(ended, "out", _node(_add, "after"), "value")
    graph.add_nodes([_node(_add, "small", mem_gb=0.1)])
    plugin = _plugin(graph)

    def end() -> None:
        wait_for(lambda: read_jobs(slurm))
        set_state(slurm, "1", state=state, status=status)

    thread = threading.Thread(target=end)
    thread.start()
    with pytest.raises(RuntimeError, match=said):
        graph.run(plugin=plugin)
    thread.join()
    assert plugin.unfinished == {"graph.ended", "graph.after"}
    assert len(list((tmp_path / "crash").glob("crash-*ended*.txt"))) == 1


def test_a_job_that_is_asked_to_end_and_queued_again_goes_on(slurm, graph, tmp_path):
    go_file = tmp_path / "go"
    graph.add_nodes([_node(_train, "train", go_file=str(go_file))])
    plugin = _plugin(graph)

    def requeue() -> None:
        wait_for(go_file.with_suffix(".started").exists)
        pid = read_jobs(slurm)["1"]["pid"]
        set_state(slurm, "1", state="PENDING", reason="BeginTime")
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: read_jobs(slurm)["1"].get("code") == 143)
        n_call = len(calls(slurm, "squeue"))
        wait_for(lambda: len(calls(slurm, "squeue")) > n_call + 2)
        go_file.touch()
        fake_slurm.start(slurm, "1")

    thread = threading.Thread(target=requeue)
    thread.start()
    graph.run(plugin=plugin)
    thread.join()
    assert not plugin.failures


def test_a_job_without_a_result_that_slurm_forgot_fails_its_step(slurm, graph, monkeypatch):
    monkeypatch.setattr("shd_workflows.slurm._GRACE_SECONDS", 0.1)
    (slurm / "hold").touch()
    graph.add_nodes([_node(_add, "lost")])

    def forget() -> None:
        wait_for(lambda: read_jobs(slurm))
        set_state(slurm, "1", state="FORGOTTEN")

    thread = threading.Thread(target=forget)
    thread.start()
    with pytest.raises(RuntimeError, match="Slurm does not know it any more"):
        graph.run(plugin=_plugin(graph))
    thread.join()


def test_a_job_that_slurm_does_not_take_fails_its_step_in_slurms_words(slurm, graph):
    (slurm / "refuse").write_text("Invalid account")
    graph.add_nodes([_node(_add, "large"), _node(_add, "small", mem_gb=0.1)])
    plugin = _plugin(graph, max_tries=2)
    with pytest.raises(RuntimeError, match=r"Slurm did not take the job.*Invalid account"):
        graph.run(plugin=plugin)
    assert len(calls(slurm, "sbatch")) == 2
    assert plugin.unfinished == {"graph.large"}


def test_a_controller_that_does_not_answer_is_waited_for(slurm, graph, caplog):
    for name in ("silent", "hold"):
        (slurm / name).touch()
    graph.add_nodes([_node(_add, "large")])

    def run_when_told() -> None:
        wait_for(lambda: "squeue does not answer" in caplog.text)
        fake_slurm.start(slurm, "1")

    thread = threading.Thread(target=run_when_told)
    thread.start()
    with caplog.at_level(logging.WARNING):
        graph.run(plugin=_plugin(graph, poll_seconds=0.01))
    thread.join()


def test_a_job_that_is_held_is_told(slurm, graph, caplog):
    (slurm / "hold").touch()
    graph.add_nodes([_node(_add, "large")])

    def hold() -> None:
        wait_for(lambda: read_jobs(slurm))
        set_state(slurm, "1", reason="launch failed requeued held")
        wait_for(lambda: "will not start as it is" in caplog.text)
        fake_slurm.start(slurm, "1")

    thread = threading.Thread(target=hold)
    thread.start()
    with caplog.at_level(logging.WARNING):
        graph.run(plugin=_plugin(graph))
    thread.join()


def test_stopping_cancels_the_jobs(slurm, graph, tmp_path):
    plugin = _plugin(graph)
    go_file = tmp_path / "go"
    node = _node(_wait, "wait", go_file=str(go_file))
    graph.add_nodes([node])

    def interrupt(*_) -> None:
        if go_file.with_suffix(".started").exists():
            raise KeyboardInterrupt

    plugin._look, look = (lambda: (look(), interrupt())), plugin._look
    with pytest.raises(KeyboardInterrupt):
        graph.run(plugin=plugin)
    plugin.stop()
    assert calls(slurm, "scancel") == [["1"]]
    assert read_jobs(slurm)["1"]["state"] == "CANCELLED"


def test_jobs_of_a_run_that_was_killed_are_cancelled_first(slurm, graph):
    (slurm / "hold").touch()
    earlier = _plugin(graph)
    node = _node(_add, "large")
    graph.add_nodes([node])
    node.base_dir = graph.base_dir
    node.config = {"execution": {}}
    node._hierarchy = "graph"
    earlier._submit_job(node)
    (slurm / "hold").unlink()
    graph.run(plugin=_plugin(graph))
    assert calls(slurm, "scancel") == [["1"]]
    assert read_jobs(slurm)["1"]["state"] == "CANCELLED"


def test_no_more_jobs_are_submitted_at_once_than_allowed(slurm, graph):
    graph.add_nodes([_node(_add, name) for name in ("one", "two")])
    plugin, seen = _plugin(graph, max_jobs=1), []
    look = plugin._look
    plugin._look = lambda: (seen.append(len(plugin._jobs)), look())
    graph.run(plugin=plugin)
    assert set(seen) == {1}
    assert not plugin.unfinished


def test_a_slow_look_at_the_results_is_taken_once_for_all_jobs(graph, tmp_path, monkeypatch):
    now, looks = [1000.0], []

    def list_slowly(folder, pattern):
        looks.append(folder)
        now[0] += 5.0  # as on a network file system with many participants
        return iter(())

    monkeypatch.setattr("shd_workflows.slurm.monotonic", lambda: now[0])
    monkeypatch.setattr(Path, "glob", list_slowly)
    plugin = _plugin(graph)
    plugin._jobs = {n: Job(f"graph.n{n}", JobFiles(tmp_path, f"n{n}")) for n in range(20)}
    assert [plugin._get_result(n) for n in plugin._jobs] == [None] * 20
    assert len(looks) == 1
    now[0] += 1.0  # no longer than the last one took: there would be time for nothing else
    plugin._look()
    assert len(looks) == 1
    now[0] += 5.0
    plugin._look()
    assert len(looks) == 2


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\x80\x04."])
def test_a_damaged_result_of_a_job_is_a_failure_of_its_step(slurm, graph, tmp_path, content):
    plugin = _plugin(graph)
    files = JobFiles(tmp_path, "fit")
    files.result.write_bytes(content)
    plugin._jobs = {1: Job("graph.fit", files)}
    result = plugin._get_result(1)
    assert "fit.result.pkl cannot be read" in result["traceback"][0]
