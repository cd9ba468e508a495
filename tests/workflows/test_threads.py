"""A step's process uses no more threads than the step declares."""

import json
import os
import subprocess
import sys

import pytest
from shd_workflows.threads import THREAD_VARIABLES

_CODE = """
import json, os, sys
import numpy
from shd_bids.interfaces import all  # what steps' processes are forked from has loaded
from threadpoolctl import threadpool_info
import SimpleITK
from shd_workflows.threads import bound_threads
before = max(pool["num_threads"] for pool in threadpool_info())
bound_threads(1)
after = max(pool["num_threads"] for pool in threadpool_info())
itk = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
print(json.dumps([before, after, itk, os.environ["OMP_NUM_THREADS"]]))
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a single core has no threads to bound")
def test_libraries_that_are_loaded_are_bound_too():
    environment = dict.fromkeys(THREAD_VARIABLES, "2")
    environment.pop("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    done = subprocess.run(
        [sys.executable, "-c", _CODE],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [2, 1, 1, "1"]
