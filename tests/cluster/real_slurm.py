"""A Slurm of one node, this machine, in a folder: started for tests and stopped after them."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shd_bids.deconvolution.interruption import end_with_parent

DAEMONS = ("/usr/sbin/munged", "/usr/sbin/slurmctld", "/usr/sbin/slurmd")
CONFIGURATION = """
ClusterName=shdbids
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/socket/munge
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
KillWait=60
MinJobAge=3600
JobRequeue=1
SlurmdTimeout=600
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=normal Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10
"""


class RealSlurm:
    """A running Slurm; nothing of another one on the machine is touched."""

    def __init__(self, folder: Path) -> None:
        missing = [name for name in DAEMONS if not Path(name).exists()]
        if missing:
            pytest.skip(f"no {', '.join(missing)}; apt-get install slurm-wlm munge")
        if os.geteuid() != 0:
            pytest.skip("only root can start Slurm's daemons")
        self.folder = folder
        self._daemons: list[subprocess.Popen[bytes]] = []
        folder.chmod(0o755)
        for name, mode in (("munge", 0o700), ("socket", 0o755), ("state", 0o755), ("spool", 0o755)):
            (folder / name).mkdir(mode=mode)
        key = folder / "munge/key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        host = socket.gethostname().split(".")[0]
        self.file = folder / "slurm.conf"
        self.file.write_text(
            CONFIGURATION.format(
                host=host, folder=folder, controller_port=_free_port(), node_port=_free_port()
            )
        )
        path = os.pathsep.join([str(self._program(folder)), os.environ["PATH"]])
        self.environment = {**os.environ, "SLURM_CONF": str(self.file), "PATH": path}
        for name in [name for name in self.environment if name.startswith("SLURM_JOB")]:
            del self.environment[name]
        try:
            self._start(
                DAEMONS[0],
                *("--foreground", "--force", f"--key-file={key}"),
                *(f"--socket={folder}/socket/munge", f"--pid-file={folder}/munge/pid"),
                *(f"--log-file={folder}/munge/log", f"--seed-file={folder}/munge/seed"),
            )
            wait_for(lambda: (folder / "socket/munge").exists(), 60)
            self._start(DAEMONS[1], "-D", "-i")
            wait_for(lambda: self.call("sinfo", check=False) != "", 60)
            self._start(DAEMONS[2], "-D", "-N", host)
            wait_for(lambda: "idle" in self.call("sinfo", check=False), 120)
        except BaseException:
            self.stop()
            raise

    def _program(self, folder: Path) -> Path:
        """Make `shd-bids` a program on PATH, as an installation does."""
        program = folder / "bin/shd-bids"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m shd_bids.cli.run "$@"\n')
        program.chmod(0o755)
        return program.parent

    def _start(self, *command: str) -> None:
        output = self.folder / f"{Path(command[0]).name}.out"
        with output.open("wb") as said:
            daemon = subprocess.Popen(
                command,
                env=self.environment,
                stdout=said,
                stderr=said,
                stdin=subprocess.DEVNULL,
                preexec_fn=end_with_parent,  # should the tests be killed
            )
        self._daemons.append(daemon)

    def call(self, *command: str, check: bool = True) -> str:
        """Run a program of Slurm's and give what it says."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def state(self, job: str) -> str:
        """Give the state of a job, or of a task as ``1_2``."""
        said = self.call("squeue", "-h", "--states=all", "-j", job, "-o", "%T", check=False)
        return said.strip()

    def facts(self, job: str) -> dict[str, str]:
        """Give what Slurm knows about a job."""
        said = self.call("scontrol", "show", "job", job).split()
        return dict(word.split("=", 1) for word in said if "=" in word)

    def stop(self) -> None:
        """End all jobs and the daemons."""
        if len(self._daemons) == len(DAEMONS):
            numbers = self.call("squeue", "-h", "-o", "%A", check=False).split()
            if numbers:
                self.call("scancel", "--signal=KILL", "--full", *numbers, check=False)
                self.call("scancel", *numbers, check=False)
                wait_for(lambda: not self.call("squeue", "-h", check=False), 120)
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(timeout=60)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for file in Path("/proc").glob("[0-9]*/environ"):  # what a job that was killed has left
            with contextlib.suppress(OSError):
                if os.fsencode(self.folder) in file.read_bytes():
                    os.kill(int(file.parent.name), signal.SIGKILL)
        shutil.rmtree(self.folder / "munge", ignore_errors=True)  # the key


def wait_for(happens: Callable[[], object], seconds: float = 900.0) -> None:
    """Wait until something happens."""
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
