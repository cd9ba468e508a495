"""Room for the files that a run holds open: locks and logs, a few for each participant."""

import resource

from shd_bids.errors import ConfigError

_EACH = 3  # of a participant: locks in work directory and output, and a log
_OTHERS = 256  # libraries, pipes to steps
_MOST = 65_536  # more than any study needs; some programs walk through all that there could be


def allow_open_files(n_participant: int, n_session: int = 0) -> None:
    """Raise this process's own limit as far as it needs and may.

    Most systems start programs with 1024 open files and let them ask for more.

    Parameters
    ----------
    n_participant
        That are run at once.
    n_session
        That are named: each has a lock of its own with every participant.

    Raises
    ------
    ConfigError
        When there is no room for so many.
    """
    each = _EACH + n_session
    needed = _OTHERS + each * n_participant
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(hard if hard != resource.RLIM_INFINITY else _MOST, _MOST)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if most < needed:
        raise ConfigError(
            f"{n_participant} participants at once need {needed} open files, but `ulimit -Hn` "
            f"allows {most}. Run at most {(most - _OTHERS) // each} with one command, by "
            "--participant-label, or have the limit raised."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
