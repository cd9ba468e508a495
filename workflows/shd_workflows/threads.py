"""The threads that a step's process may use; light, because every step's process imports it."""

import os

from threadpoolctl import threadpool_limits

#: What libraries read when they are loaded, or when they first compute.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


def bound_threads(n_threads: int) -> None:
    """Let libraries use no more threads than a step declares, here and in what it starts.

    Libraries that the process inherited have read the number for the largest step already.

    Parameters
    ----------
    n_threads
        At least one.
    """
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(n_threads)))
    threadpool_limits(n_threads)
