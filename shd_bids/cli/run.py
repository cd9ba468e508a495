"""The program `shd-bids`: read the command line, run every participant, say how it went."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shd_bids.config import RunConfig
from shd_bids.errors import ShdBidsError

from .parser import parse_arguments

if TYPE_CHECKING:
    from shd_workflows.outcome import Outcome

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
        debug = config.execution.debug
        outcomes = _process(config)
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


def _process(config: RunConfig) -> Sequence["Outcome"]:
    """Do what the command line asks for; modules that are slow to load are loaded here."""
    if config.execution.reports_only:
        _prepare_environment(1)
        from shd_workflows.reports_only import run_reports_only

        return run_reports_only(config)
    from .resources import resolve_resources

    config, machine = resolve_resources(config)
    _prepare_environment(config.resources.omp_nthreads or 1)
    from shd_workflows.run import run_participants, write_boilerplate

    if config.execution.boilerplate_only:
        outcomes, citation_file = write_boilerplate(config)
        if citation_file is not None:
            print(f"Methods text: {citation_file}")
        return outcomes
    return run_participants(config, resources_text=machine.sentence, gpus=machine.gpus)


def _prepare_environment(n_threads: int) -> None:
    """Set what libraries read when they are imported, here and in every process started later."""
    for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM"):
        os.environ[f"{name}_NUM_THREADS"] = str(n_threads)
    os.environ["NIPYPE_NO_ET"] = "1"
    os.environ["NIPYPE_NO_MATLAB"] = "1"
    os.environ["MPLBACKEND"] = "Agg"


if __name__ == "__main__":
    sys.exit(main())
