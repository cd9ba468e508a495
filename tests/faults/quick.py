"""A run of half a minute that goes as far as the responses."""

from pathlib import Path

from faults.trees import assert_whole

QUICK = (
    *("--level", "response", "--skip-anat", "--fod-model", "csd", "--denoise-method", "none"),
    *("--hmc", "none", "--bias-correction", "none", "--nprocs", "1", "--omp-nthreads", "1"),
)


def quick_call(bids_dir: Path, out: Path, work: Path) -> list[str]:
    """Give the arguments of the run."""
    return [str(bids_dir), str(out), "participant", "-w", str(work), *QUICK]


def assert_whole_results(out: Path) -> None:
    """Make sure that all but the logs is whole, and has its name; a log ends where the disk did."""
    for file in out.rglob("log/*/*"):
        file.unlink()
    assert_whole(out)
