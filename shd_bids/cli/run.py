"""The program `shd-bids`: read the command line, run every participant, say how it went."""

import os
import sys
import traceback
from collections.abc import Sequence

from shd_bids.errors import ShdBidsError

from .container import find_container
from .parser import parse_arguments

SUCCESS, FAILURE, USAGE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Parameters
    ----------
    argv
        Arguments without the program's name; those of the process when None.

    Returns
    -------
    int
        0 when every participant finished, 1 when one did not, 2 when the call itself was wrong.
    """
    debug = "--debug" in (sys.argv if argv is None else argv)
    try:
        config = parse_arguments(argv)
        from .resources import resolve_resources

        config, machine = resolve_resources(config)
        debug = config.execution.debug
        _prepare_environment(config.resources.omp_nthreads or 1)
        # Heavy from here on: nipype, pybids.
        from shd_workflows.run import run_participants

        outcomes = run_participants(
            config,
            resources_text=machine.sentence,
            gpus=machine.gpus,
            container=find_container(),
        )
    except ShdBidsError as error:
        if debug:
            traceback.print_exc()
        print(f"shd-bids: error: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("shd-bids interrupted; the same command goes on where it stopped.", file=sys.stderr)
        return 130
    failed = [outcome for outcome in outcomes if not outcome.finished]
    for outcome in failed:
        for message in outcome.messages:
            print(f"  sub-{outcome.label}: {message}")
        for crash_file in outcome.crash_files:
            print(f"  sub-{outcome.label}: crash file {crash_file}")
    n_finished = len(outcomes) - len(failed)
    names = ", ".join(f"sub-{outcome.label}" for outcome in failed)
    print(
        f"shd-bids finished: {n_finished} of {len(outcomes)} participant(s)"
        + (f"; failed: {names}." if failed else ".")
    )
    return FAILURE if failed else SUCCESS


def _prepare_environment(n_threads: int) -> None:
    """Set what libraries read when they are imported, here and in every process started later."""
    for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM"):
        os.environ[f"{name}_NUM_THREADS"] = str(n_threads)
    os.environ["NIPYPE_NO_ET"] = "1"
    os.environ["NIPYPE_NO_MATLAB"] = "1"
    os.environ["MPLBACKEND"] = "Agg"


if __name__ == "__main__":
    sys.exit(main())
