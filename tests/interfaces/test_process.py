"""A program's words reach the log, and its failure says what it said."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shd_bids.errors import DeviceError, ShdBidsError
from shd_bids.interfaces.process import run_program


def _python(code):
    return [sys.executable, "-c", code]


def test_lines_reach_the_log_as_they_come(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="shd_bids"):
        run_program(_python("print('step 1'); print(); print('step 2')"), tmp_path)
    assert [record.getMessage() for record in caplog.records] == ["step 1", "step 2"]


def test_a_failure_becomes_the_last_line_on_standard_error(tmp_path):
    code = "import sys; sys.stderr.write('noise\\nThe card has 2 GB; 8 GB are needed.\\n'); exit(1)"
    with pytest.raises(ShdBidsError, match=r"^The card has 2 GB; 8 GB are needed\.$"):
        run_program(_python(code), tmp_path)


def test_of_several_processes_the_one_that_failed_has_the_last_word(tmp_path):
    rank = tmp_path / "rank.py"
    rank.write_text(
        "import os, sys, time\n"
        "if os.environ['RANK'] == '0': time.sleep(60)\n"
        "sys.exit('The card has 2 GB; 8 GB are needed.')\n"
    )
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    with pytest.raises(ShdBidsError, match=r"^The card has 2 GB; 8 GB are needed\.$"):
        run_program([sys.executable, *torchrun, str(rank)], tmp_path)
    rank.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n")
    with pytest.raises(DeviceError, match=r"killed by SIGKILL.*memory"):
        run_program([sys.executable, *torchrun, str(rank)], tmp_path)


def test_a_failure_without_words_tells_its_code(tmp_path):
    with pytest.raises(ShdBidsError, match="exit code 3"):
        run_program(_python("exit(3)"), tmp_path)


def test_a_killed_program_points_to_memory(tmp_path):
    with pytest.raises(DeviceError, match=r"killed by SIGKILL.*memory"):
        run_program(_python("import os; os.kill(os.getpid(), 9)"), tmp_path)


def test_a_program_that_was_asked_to_end_says_how_to_go_on(tmp_path):
    with pytest.raises(ShdBidsError, match="goes on from its last checkpoint"):
        run_program([sys.executable, "-c", "raise SystemExit(143)"], tmp_path)


def test_much_output_on_both_streams_does_not_block(tmp_path):
    code = "import sys\nfor i in range(20000): print(i); print(i, file=sys.stderr)"
    run_program(_python(code), tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ties the ends of processes")
def test_the_program_dies_with_the_process_that_started_it(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from shd_bids.interfaces.process import run_program\n"
        "program = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'\n"
        "import logging\n"
        "logging.basicConfig(level='INFO', format='%(message)s', stream=sys.stdout)\n"
        "run_program([sys.executable, '-c', program], Path('.'))\n"
    )
    parent = subprocess.Popen(_python(code), cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if _is_zombie(pid):
            return
        time.sleep(0.05)
    raise AssertionError("the program goes on")


def _is_zombie(pid):
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
