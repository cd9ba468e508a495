"""The run that nothing disturbs, and a table of what happened to the others."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults.launch import Run, finish, start

COMMAND = (
    *("--fod-model", "csd", "shd-tv", "--shd-steps", 60, "--lmax", 6, "--n-streamlines", 100),
    *("--max-angle-deg", 45, "--device", "cpu", "--omp-nthreads", 1, "--nprocs", 2),
)
TABLE = "SHD_BIDS_FAULT_TABLE"  # file to which the rows are added, when it is set


@dataclass(frozen=True)
class Undisturbed:
    """A run from its beginning to its end.

    Attributes
    ----------
    bids_dir, out
        What went in and what came out.
    seconds
        What it took.
    """

    bids_dir: Path
    out: Path
    seconds: float

    def call(self, root: Path) -> list[object]:
        """Give the arguments of the same run in another place."""
        return [self.bids_dir, root / "out", "participant", "-w", root / "work", *COMMAND]


@pytest.fixture(scope="session")
def undisturbed(tiny_phantom_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Run the whole participant level, from denoising to the streamlines' pictures."""
    root = tmp_path_factory.mktemp("undisturbed")
    made = Undisturbed(tiny_phantom_dir, root / "out", 0.0)
    run = finish(start(*made.call(root)), timeout_s=1800)
    assert run.code == 0, run.text
    return Undisturbed(tiny_phantom_dir, root / "out", run.seconds or 0.0)


@pytest.fixture
def record_fault(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> Callable[..., None]:
    """Note what happened: fault, exit code and last line, seconds until all was there again."""

    def record(fault: str, run: Run, again: Run, remark: str = "") -> None:
        whole = request.getfixturevalue("undisturbed").seconds
        row = (
            f"{fault} | exit {run.code} after {run.seconds:.0f} s: {run.last_line} | {remark} | "
            f"{again.seconds:.0f} s, undisturbed {whole:.0f} s"
        )
        with capsys.disabled():
            print(f"\n{row}")  # noqa: T201  # the table
        if table := os.environ.get(TABLE):
            with Path(table).open("a") as file:
                file.write(f"{row}\n")

    return record
