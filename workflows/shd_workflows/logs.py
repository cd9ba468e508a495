"""Where messages go: a short line on the screen, everything to the participant's log file."""

import errno
import io
import logging
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from shd_bids.bids.space import explain_write_error

_ROOTS = ("shd_bids", "shd_workflows", "nipype", "py.warnings")
#: Not folders of paths: a dataset may lie in one that is called like a participant.
_LABEL = re.compile(r"(?:sub_|(?<!/)sub-)((?:[a-zA-Z0-9+]|_plus_)+)")
_READER_GONE = (errno.EPIPE, errno.EIO)
_FILE_FORMAT = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
_SCREEN_FORMAT = logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")


def set_up_logging(*, verbosity: int, log_files: Mapping[str, Path]) -> None:
    """Send the messages of shd-bids and nipype to the screen and to files.

    Parameters
    ----------
    verbosity
        0: only what shd-bids itself says; 1: also nipype's steps; 2: everything.
    log_files
        File by the workflow name of a participant. Each gets everything down to INFO (DEBUG with
        `verbosity` 2), appended, but for what names another participant.
    """
    level = logging.DEBUG if verbosity > 1 else logging.INFO
    if isinstance(sys.stdout, io.TextIOWrapper):  # letters that a terminal lacks are replaced
        sys.stdout.reconfigure(errors="backslashreplace")
    screen = _Screen(sys.stdout)
    screen.setFormatter(_SCREEN_FORMAT)
    screen.setLevel(level)
    if verbosity == 0:
        screen.addFilter(_is_ours)
    handlers: list[logging.Handler] = [screen]
    for name, file in log_files.items():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            to_file = _LogFile(file, encoding="utf-8")
        except OSError as error:
            _say_no_log(file, error)
            continue
        to_file.setFormatter(_FILE_FORMAT)
        to_file.addFilter(_Without(name, frozenset(log_files)))
        handlers.append(to_file)
    logging.captureWarnings(True)
    for root in _ROOTS:
        logger = logging.getLogger(root)
        close_handlers(logger)
        logger.setLevel(level)
        logger.propagate = False
        for handler in handlers:
            logger.addHandler(handler)
    for name in ("nipype.workflow", "nipype.interface", "nipype.utils"):
        logging.getLogger(name).setLevel(level)  # nipype gives each of these a level of its own


class _Screen(logging.StreamHandler):
    """Goes silent when its reader has gone away, as ``head`` and a closed terminal do."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Let go of a stream that nobody reads any more."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif error.errno in _READER_GONE:
            silence(self.stream)


class _LogFile(logging.FileHandler):
    """Loses lines where its disk is full, and says so once; the processing matters more."""

    has_failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Tell why, the first time."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.has_failed:
            self.has_failed = True
            _say_no_log(Path(self.baseFilename), error)

    def close(self) -> None:
        """Close the file, of which what could not be written before cannot be now."""
        with suppress(OSError):
            super().close()


def silence(stream: TextIO) -> None:
    """Let what is written to a stream vanish, whoever writes there, without an error."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _say_no_log(file: Path, error: OSError) -> None:
    with suppress(OSError):
        sys.stderr.write(
            f"The log {file} cannot be written: {explain_write_error(error, file)} The run goes "
            "on without it.\n"
        )


class _Without(logging.Filter):
    """Keeps out what names another participant, whichever way it is named."""

    def __init__(self, own: str, names: frozenset[str]) -> None:
        super().__init__()
        self._own, self._names = {own}, names

    def filter(self, record: logging.LogRecord) -> bool:
        found: set[str] | None = getattr(record, "participants", None)
        if found is None:  # looked for once, however many logs there are
            labels = [label.replace("+", "_plus_") for label in _LABEL.findall(record.getMessage())]
            found = {f"sub_{label}_wf" for label in labels}
            record.participants = found
        return not (found & self._names) - self._own


def close_handlers(logger: logging.Logger) -> None:
    """Take all handlers off a logger and close their files."""
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def _is_ours(record: logging.LogRecord) -> bool:
    """Keep nipype's account of every step, and libraries' warnings, off the screen."""
    return record.name.startswith("shd_")
