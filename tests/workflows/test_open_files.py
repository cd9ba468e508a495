"""A study of a thousand may be run by one command where a process may open 1024 files."""

import subprocess
import sys

import pytest

HOLD = """
import resource, sys
from pathlib import Path
from shd_workflows.holds import hold_outputs
from shd_workflows.open_files import allow_open_files
from shd_workflows.workdir import hold_participants

soft, hard, n, n_session = map(int, sys.argv[2:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
labels = [f"{number:04d}" for number in range(n)]
sessions = [str(number) for number in range(n_session)]
allow_open_files(n, n_session)
folder = Path(sys.argv[1])
with hold_participants(folder, labels), hold_outputs(folder, labels, sessions):
    print(len(list(Path("/proc/self/fd").iterdir())))
"""


def _hold(folder, soft, hard, n_participant, n_session=0):
    return subprocess.run(
        [
            sys.executable,
            "-c",
            HOLD,
            folder,
            str(soft),
            str(hard),
            str(n_participant),
            str(n_session),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize(("n_participant", "n_session"), [(1000, 0), (200, 8)])
def test_a_thousand_participants_are_held_where_a_program_starts_with_few_files(
    tmp_path, n_participant, n_session
):
    done = _hold(tmp_path, 256, 8192, n_participant, n_session)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > (2 + n_session) * n_participant
    assert "cannot be locked" not in done.stderr


def test_who_may_not_open_enough_files_is_told_how_many_participants_fit(tmp_path):
    done = _hold(tmp_path, 256, 512, 1000)
    assert "1000 participants at once need 3256 open files, but `ulimit -Hn` allows 512" in (
        done.stderr
    )
    assert "at most 85 with one command" in done.stderr
