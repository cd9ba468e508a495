"""A graph survives what can happen to the processes that run it."""

import logging
import os
import re
import signal
import threading
from pathlib import Path

import pytest
from faults.launch import wait_until
from nipype import Function, Node, Workflow
from shd_workflows.plugin import ResilientPlugin


def _add(value: int) -> int:
    return value + 1


def _kill_while_it_sends(value: int) -> int:
    """Die with the first half of the result in the pipe."""
    import os
    import signal
    from multiprocessing.connection import Connection

    def send_bytes(self, reply):
        os.write(self.fileno(), (10**6).to_bytes(4, "big") + b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    Connection.send_bytes = send_bytes
    return value


def _stop_while_it_sends(value: int) -> int:
    """Send half of the result, then nothing for a long time."""
    import os
    import time
    from multiprocessing.connection import Connection

    def send_bytes(self, reply):
        os.write(self.fileno(), (10**6).to_bytes(4, "big") + b"half")
        time.sleep(8)
        os._exit(1)

    Connection.send_bytes = send_bytes
    return value


def _leave(value: int) -> int:
    import os

    os._exit(0)


def _raise_what_cannot_be_sent(value: int) -> int:
    class LocalError(Exception):
        def __init__(self) -> None:
            super().__init__("the local reason")
            self.handle = (one for one in ())

    raise LocalError


def _large(value: int) -> str:
    return "x" * 5_000_000


def _kill_the_server(value: int) -> int:
    """Kill the process that this one was forked from."""
    import os
    import signal

    os.kill(os.getppid(), signal.SIGKILL)
    return value + 1


def _start_a_program(value: int) -> int:
    """Start a program, as MRtrix3 and FSL are, and die before it ends."""
    import os
    import signal
    import subprocess
    from pathlib import Path

    program = subprocess.Popen(["sleep", "600"])
    Path("../pid").write_text(str(program.pid))
    os.kill(os.getpid(), signal.SIGKILL)


def _wait_for_a_signal(value: int) -> int:
    """Start what saves itself at SIGTERM, as a training does, and wait for it."""
    import sys
    from pathlib import Path

    from shd_bids.interfaces.process import run_program

    program = (
        "import signal, time\nfrom pathlib import Path\n"
        "def end(number, frame):\n    Path('saved').touch()\n    raise SystemExit(143)\n"
        "signal.signal(signal.SIGTERM, end)\nPath('ready').touch()\ntime.sleep(600)\n"
    )
    run_program([sys.executable, "-c", program], Path.cwd())


def _run(root: Path, plugin: ResilientPlugin | None = None, **steps) -> ResilientPlugin:
    """Run independent nodes, one of which fails; give the plugin."""
    graph = Workflow("graph", base_dir=str(root / "work"))
    graph.config["execution"] = {
        "crashdump_dir": str(root / "crash"),
        "crashfile_format": "txt",
        "poll_sleep_duration": "0.01",
    }
    for name, function in steps.items():
        node = Node(Function(["value"], ["out"], function), name=name, mem_gb=0.1)
        node.inputs.value = 1
        graph.add_nodes([node])
    plugin = plugin or ResilientPlugin(n_procs=2, memory_gb=2)
    try:
        graph.run(plugin=plugin)
    except RuntimeError:
        assert plugin.failures
    finally:
        plugin.stop()
    return plugin


@pytest.fixture(scope="module")
def hurt(tmp_path_factory) -> tuple[ResilientPlugin, list[str], str]:
    """One graph with every bad end at once: the plugin, the order of ends, the crash files."""
    root, ended = tmp_path_factory.mktemp("hurt"), []
    plugin = ResilientPlugin(n_procs=9, memory_gb=9, on_step=lambda name, use: ended.append(name))
    bad = {name: step for name, (step, _) in BAD_ENDS.items()}
    _run(root, plugin, **bad, good=_add, large=_large)
    crashes = "".join(file.read_text() for file in (root / "crash").glob("crash-*.txt"))
    return plugin, ended, crashes


BAD_ENDS = {
    "killed": (_kill_while_it_sends, "killed by SIGKILL.*out of memory"),
    "stuck": (_stop_while_it_sends, "exit code 1"),
    "left": (_leave, "ended without a result, with exit code 0"),
    "odd": (_raise_what_cannot_be_sent, "the local reason"),
}


@pytest.mark.parametrize("name", BAD_ENDS)
def test_a_process_that_ends_badly_fails_its_node_with_a_reason(hurt, name):
    plugin, _, crashes = hurt
    (message,) = [one.message for one in plugin.failures if one.node_name == f"graph.{name}"]
    assert re.search(BAD_ENDS[name][1], message)
    assert re.search(BAD_ENDS[name][1], crashes)


def test_the_other_nodes_finish_and_a_large_result_arrives(hurt):
    plugin = hurt[0]
    assert plugin.unfinished == {f"graph.{name}" for name in BAD_ENDS}


def test_half_a_result_does_not_hold_up_the_others(hurt):
    ended = hurt[1]
    assert ended.index("graph.good") < ended.index("graph.stuck")


def test_nodes_go_on_without_the_server_that_started_them_and_it_is_started_again(tmp_path):
    plugin = ResilientPlugin(n_procs=1, memory_gb=2)
    plugin = _run(tmp_path, plugin, first=_kill_the_server, second=_add)
    assert not plugin.failures
    assert not plugin.unfinished


def test_a_program_ends_with_the_node_that_started_it(tmp_path):
    _run(tmp_path, bad=_start_a_program)
    pid = int((tmp_path / "work/graph/pid").read_text())
    wait_until(lambda: not _lives(pid), "the end of the program")


def test_processes_that_cannot_be_started_fail_their_nodes_with_a_reason(tmp_path, monkeypatch):
    plugin = ResilientPlugin(n_procs=1, memory_gb=2)

    def refuse(process):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(plugin._context.Process, "start", refuse)
    _run(tmp_path, plugin, bad=_add)
    (failure,) = plugin.failures
    assert "Resource temporarily unavailable" in failure.message
    assert "ulimit" in failure.message


def test_a_program_that_saves_itself_is_given_the_time_when_the_graph_is_stopped(tmp_path):
    plugin = ResilientPlugin(n_procs=1, memory_gb=2)
    folder = tmp_path / "work/graph/fit"

    def interrupt() -> None:
        wait_until((folder / "ready").exists, "the program")
        os.kill(os.getpid(), signal.SIGUSR1)

    class Stopped(BaseException):
        pass

    def stop(number, frame):
        raise Stopped

    before = signal.signal(signal.SIGUSR1, stop)
    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(Stopped):
            _run(tmp_path, plugin, fit=_wait_for_a_signal)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (folder / "saved").exists()


def test_processes_have_the_names_of_their_nodes(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        _run(tmp_path, a_step_by_name=_tell_name)
    assert (tmp_path / "work/graph/name").read_text() == "a_step_by_name"


def _tell_name(value: int) -> int:
    from pathlib import Path

    Path("../name").write_text(Path("/proc/self/comm").read_text().strip())
    return value


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
