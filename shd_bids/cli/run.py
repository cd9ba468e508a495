"""The program `shd-bids`: read the command line, run every participant, say how it went."""

import atexit
import io
import os
import shutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shd_workflows.logs import silence
from shd_workflows.signals import Interrupted, hear_signals
from shd_workflows.threads import THREAD_VARIABLES

from shd_bids.bids.space import explain_write_error, is_disk_error
from shd_bids.config import RunConfig
from shd_bids.errors import ShdBidsError

from .container import find_container
from .parser import parse_arguments
from .places import use_places
from .python import check_python
from .resources import Machine, resolve_resources

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
        0 when all was done for every participant, 1 when it was not, 2 when the call itself was
        wrong, 128 and the number of the signal when one asked the run to end.
    """
    with hear_signals():
        try:
            return _main(argv)
        except Interrupted as interruption:
            _say(
                f"shd-bids was interrupted by {interruption}. The same command goes on where it "
                "stopped, and writes the pages."
            )
            return interruption.exit_code


def _main(argv: Sequence[str] | None) -> int:
    debug = "--debug" in (sys.argv if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # letters that a terminal lacks are replaced
            stream.reconfigure(errors="backslashreplace")
    try:
        check_python(sys.argv if argv is None else argv)
        config = parse_arguments(argv)
        debug = config.execution.debug
        is_group = config.execution.analysis_level == "group"
        if config.execution.reports_only and not is_group:
            outcomes = _remake_pages(config)
        else:
            config, machine = resolve_resources(config)
            _prepare_environment(config)
            if is_group:
                return _run_group(config, machine)
            outcomes = _run_participants(config, machine)
    except ShdBidsError as error:
        if debug:
            traceback.print_exc()
        print(f"shd-bids: error: {error}", file=sys.stderr)
        return USAGE
    except PermissionError as error:
        if debug:
            raise
        print(
            f"shd-bids: error: {error.filename or 'a file'}: {error.strerror or error}. Check who "
            "may read it and enter the folders around it, also as the user of a container, or "
            "give another.",
            file=sys.stderr,
        )
        return USAGE
    except OSError as error:
        if debug or not is_disk_error(error):
            raise
        said = explain_write_error(error, Path(error.filename or Path.cwd()))
        print(f"shd-bids failed: {said}", file=sys.stderr)
        return FAILURE
    failed = [outcome for outcome in outcomes if not outcome.finished]
    for outcome in failed:
        for message in outcome.messages:
            _say(f"  sub-{outcome.label}: {message}")
        for crash_file in outcome.crash_files:
            _say(f"  sub-{outcome.label}: crash file {crash_file}")
    n_finished = len(outcomes) - len(failed)
    names = ", ".join(f"sub-{outcome.label}" for outcome in failed)
    _say(
        f"shd-bids finished: {n_finished} of {len(outcomes)} participant(s)"
        + (f"; failed: {names}." if failed else ".")
    )
    return FAILURE if failed else SUCCESS


def _say(line: str) -> None:
    """Print a line; a reader that has gone away, as ``head`` does, changes nothing."""
    try:
        print(line, flush=True)
    except OSError:
        silence(sys.stdout)


def _remake_pages(config: RunConfig) -> Sequence["Outcome"]:
    """Assemble the pages anew; nothing is processed, so that nothing of the machine matters."""
    _prepare_environment(config)
    from shd_workflows.reports_only import run_reports_only

    return run_reports_only(config)


def _run_participants(config: RunConfig, machine: Machine) -> Sequence["Outcome"]:
    """Run the participants, or only write what the methods would say."""
    # Heavy from here on: nipype, pybids.
    from shd_workflows.run import run_participants, write_boilerplate

    if config.execution.boilerplate_only:
        outcomes, citation_file = write_boilerplate(config, container=find_container())
        if citation_file is not None:
            _say(f"Methods text: {citation_file}")
        return outcomes
    return run_participants(
        config,
        resources_text=machine.sentence,
        gpus=machine.gpus,
        gpu_facts=machine.gpu_facts,
        container=find_container(),
    )


def _run_group(config: RunConfig, machine: Machine) -> int:
    """Run the group level and say how it went."""
    from shd_workflows.group_run import run_group

    outcome = run_group(
        config,
        resources_text=machine.sentence,
        gpus=machine.gpus,
        container=find_container(),
    )
    for name, reason in outcome.left_out.items():
        _say(f"  {name} is left out: {reason}")
    for message in outcome.messages:
        _say(f"  {message}")
    for crash_file in outcome.crash_files:
        _say(f"  crash file {crash_file}")
    if outcome.citation_file is not None and config.execution.boilerplate_only:
        _say(f"Methods text: {outcome.citation_file}")
    state = "finished" if not outcome.messages else "failed"
    left_out = f"; left out: {', '.join(outcome.left_out)}" if outcome.left_out else ""
    _say(
        f"shd-bids {state}: group of {len(outcome.labels)} participant(s), {outcome.n_series} "
        f"series{left_out}."
    )
    return SUCCESS if outcome.finished else FAILURE


def _prepare_environment(config: RunConfig) -> None:
    """Set what libraries read when they are imported, here and in every process started later."""
    n_threads = str(config.resources.omp_nthreads or 1)
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, n_threads))
    os.environ["NIPYPE_NO_ET"] = "1"
    os.environ["NIPYPE_NO_MATLAB"] = "1"
    os.environ["MPLBACKEND"] = "Agg"
    if sys.flags.isolated:  # as our image starts it: what it starts keeps clear of the host, too
        for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"):
            os.environ.pop(name, None)
        os.environ["PYTHONNOUSERSITE"] = "1"
    folder = config.execution.library_dir
    for name, value in use_places(folder).items():
        print(f"shd-bids: no {name} can be written; {value} takes its place.", file=sys.stderr)
    if folder.parent != config.execution.work_dir:  # not a place to keep things in
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
