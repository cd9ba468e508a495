"""How it went with each participant."""

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from traceback import format_exception

from shd_bids.bids.files import write_text
from shd_bids.bids.space import disk_reason, explain_failure, is_disk_error
from shd_bids.errors import OutputError, ShdBidsError

from .participant import participant_wf_name
from .plan import SeriesPlan
from .plugin import ResilientPlugin

LOGGER = logging.getLogger(__name__)
CONFIG_NAME = "shd-bids.toml"  # in the log folder of every run
METHODS_NAME = "methods.md"  # of the participant, with citation keys
STUDY_NAME = "methods-study.md"  # of all participants of the run


@dataclass
class Outcome:
    """One participant: where its log is, what was planned, and how it ended."""

    label: str
    log_dir: Path
    plans: list[SeriesPlan] = field(default_factory=list)
    finished: bool = False
    messages: list[str] = field(default_factory=list)
    planned: dict[str, str] = field(default_factory=dict)  # sinks by the files they may write
    keeps_log: bool = True  # not where nothing is run, as for the methods text alone
    made: list[str] = field(default_factory=list)  # of these, those of sinks that were run

    @property
    def crash_files(self) -> list[Path]:
        """Crash files of this run."""
        return sorted(self.log_dir.glob("crash-*"))

    @property
    def log_file(self) -> Path:
        """Everything that was said about this participant."""
        return self.log_dir / "shd-bids.log"

    def owns(self, node_name: str) -> bool:
        """Tell whether a node, by its full name, is one of this participant's."""
        return participant_wf_name(self.label) in node_name.split(".")

    def stop(self, error: ShdBidsError) -> None:
        """Give up before anything ran; a run leaves a crash file so that the page tells why."""
        self.plans = []
        self.messages.append(str(error))
        if not self.keeps_log:
            return
        text = "".join(format_exception(error))
        with suppress(OutputError):  # of a full disk; the message is there
            said = f"Node: planning\n\nTraceback:\n{text}"
            write_text(self.log_dir / "crash-planning.txt", said)

    def miss_undelivered(self) -> None:
        """Count what was asked for and cannot be had, such as an atlas, as not done."""
        self.messages += [text for plan in self.plans for text in plan.anat.undelivered]

    def lose_report(self, said: str) -> None:
        """Note that the page or a text of it could not be written."""
        self.finished = False
        self.messages.append(said)
        LOGGER.error("sub-%s: the report cannot be written: %s", self.label, said)


@contextmanager
def surviving_disk(*tell: Callable[[str], None]) -> Iterator[None]:
    """Tell those whose page or text it is what cannot be written; others get theirs."""
    try:
        yield
    except (OutputError, OSError) as error:
        if not isinstance(error, OutputError) and not is_disk_error(error):
            raise
        said = explain_failure(str(error), [Path(tempfile.gettempdir())])
        for hear in tell:
            hear(said)


def judge_outcomes(outcomes: Sequence[Outcome], plugin: ResilientPlugin) -> None:
    """Tell who finished: who got all that was asked for, every node having come to a good end.

    Parameters
    ----------
    outcomes
        Are completed with what the plugin knows.
    plugin
        After its run.
    """
    for outcome in outcomes:
        outcome.messages += each_reason_once(
            [failure.message for failure in plugin.failures if outcome.owns(failure.node_name)]
        )
        missing = [name for name in plugin.unfinished if outcome.owns(name)]
        if missing and not outcome.messages:
            why = f" {plugin.halted}" if plugin.halted else ""
            outcome.messages.append(f"{len(missing)} steps were not run.{why}")
        own = participant_wf_name(outcome.label)
        left = {name.partition(f"{own}.")[2] for name in missing}
        outcome.made = [path for path, sink in outcome.planned.items() if sink not in left]
        outcome.miss_undelivered()
        outcome.finished = bool(outcome.plans) and not missing and not outcome.messages


def each_reason_once(messages: Sequence[str]) -> list[str]:
    """Give each reason with the first step that failed for it, and name the others after it.

    Examples
    --------
    >>> each_reason_once(["a failed: no room.", "b failed: no room.", "c failed: no room."])
    ['a failed: no room. For the same reason failed b, c.']
    """
    steps: dict[str, list[str]] = {}
    for message in messages:
        reason = disk_reason(message) or message.partition(" failed: ")[2]
        steps.setdefault(reason or message, []).append(message)
    said = []
    for first, *others in steps.values():
        names = ", ".join(other.partition(" failed: ")[0] for other in others)
        said.append(f"{first} For the same reason failed {names}." if others else first)
    return said
