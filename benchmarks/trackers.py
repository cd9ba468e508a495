"""The trackers that are measured against each other: the same seeds, lengths and counts.

Seeds lie anywhere in the true white matter; each tracker goes on seeding until it has kept as many
streamlines as asked for. What it does on the way (step, turn, where to stop) is its own default.
Trackers named ``-t1w`` and ``-act`` are told the true tissues, as from a perfect T1w image.
"""

import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Bool

from shd_bids.deconvolution.solution import FodfSolution
from shd_bids.testing.geometry import TISSUES
from shd_bids.testing.scan import Phantom
from shd_bids.tractography.rules import TrackingRules, default_step_mm
from shd_bids.tractography.seeds import SeedRegion
from shd_bids.tractography.stopping import map_anatomy
from shd_bids.tractography.streamlines import Streamlines
from shd_bids.tractography.tracking import track_streamlines
from shd_bids.tractography.tractogram import write_tck

from .child import run_measured
from .mrtrix import MrtrixError
from .peak_memory import run_measured_here

SEED_WHITE = 0.5  # a seed voxel has more true white matter than this
METHODS = ("probabilistic", "deterministic", "ptt", "pft")
_MOST_SEEDS = 50  # for each streamline to be kept; our trackers give up there as well


@dataclass(frozen=True, eq=False)
class Task:
    """What every tracker is given."""

    solution: FodfSolution
    phantom: Phantom
    n_streamlines: int
    min_length_mm: float
    max_length_mm: float
    random_seed: int
    n_threads: int
    settings: dict[str, Any] = field(default_factory=dict)  # of our rules, if not the default

    @property
    def seed_mask(self) -> Bool[np.ndarray, "x y z"]:
        """Where to start."""
        return self.phantom.truth.tissue[..., TISSUES.index("WM")] > SEED_WHITE


@dataclass(frozen=True)
class Run:
    """What tracking cost."""

    seconds: float
    cpu_seconds: float  # of all threads
    peak_memory_mib: float


Tracker = Callable[[Task, Path], Run]


def cpu_seconds() -> float:
    """Time that this process and its ended children have computed so far, all threads."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _track_ours(method: str, *, anatomy: bool = False) -> Tracker:
    """Track in this process; its memory is counted over what it held before."""

    def track(task: Task, tck_file: Path) -> Run:
        before = cpu_seconds()
        measured = run_measured_here(
            lambda: write_tck(_follow(task, method, anatomy=anatomy), tck_file)
        )
        return Run(measured.seconds, cpu_seconds() - before, measured.peak_memory_mib)

    return track


def _follow(task: Task, method: str, *, anatomy: bool) -> Iterator[Streamlines]:
    solution, phantom = task.solution, task.phantom
    rules = {
        "step_mm": default_step_mm(phantom.affine),
        "min_length_mm": task.min_length_mm,
        "max_length_mm": task.max_length_mm,
        "random_seed": task.random_seed,
    } | task.settings
    return track_streamlines(
        solution.fodf_sh,
        phantom.affine,
        map_anatomy(
            solution.fodf_sh,
            phantom.mask,
            solution.fractions if solution.tissue else {},
            phantom.truth.tissue if anatomy else None,
        ),
        SeedRegion(task.seed_mask, phantom.affine),
        TrackingRules(method=method, **rules),
        n_streamlines=task.n_streamlines,
        n_threads=task.n_threads,
    )


def _track_mrtrix(*, anatomy: bool) -> Tracker:
    def track(task: Task, tck_file: Path) -> Run:
        folder = tck_file.parent
        _write_inputs(task, folder)
        command = tckgen_command(task, tck_file, anatomy=anatomy)
        seeded = ["env", f"MRTRIX_RNG_SEED={task.random_seed}", *command]
        before = cpu_seconds()
        outcome = run_measured(seeded, folder / "tckgen.log")
        if outcome.exit_code:
            raise MrtrixError(f"tckgen failed: {outcome.last_words}")
        return Run(outcome.seconds, cpu_seconds() - before, outcome.peak_memory_mib)

    return track


def tckgen_command(task: Task, tck_file: Path, *, anatomy: bool) -> list[str]:
    """Give the command line of iFOD2 for inputs that lie beside its output.

    With ``anatomy`` the true tissues say where streamlines may end (``-act``).
    """
    folder = tck_file.parent
    options = {
        "-algorithm": "iFOD2",
        "-seed_image": folder / "seeds.nii",
        "-mask": folder / "mask.nii",
        "-select": task.n_streamlines,
        "-seeds": _MOST_SEEDS * task.n_streamlines,
        "-minlength": task.min_length_mm,
        "-maxlength": task.max_length_mm,
        "-nthreads": task.n_threads,
    }
    if anatomy:
        options["-act"] = folder / "5tt.nii"
    flags = [str(part) for pair in options.items() for part in pair]
    return ["tckgen", str(folder / "fod.nii"), str(tck_file), *flags, "-quiet", "-force"]


def _write_inputs(task: Task, folder: Path) -> None:
    white, grey, fluid = np.moveaxis(task.phantom.truth.tissue, -1, 0)
    none = np.zeros_like(white)
    images = {
        "fod": task.solution.fodf_sh.astype(np.float32),
        "mask": task.phantom.mask.astype(np.uint8),
        "seeds": task.seed_mask.astype(np.uint8),
        "5tt": np.stack([grey, none, white, fluid, none], axis=-1).astype(np.float32),
    }
    for name, image in images.items():
        nib.save(nib.Nifti1Image(image, task.phantom.affine), folder / f"{name}.nii")


TRACKERS: dict[str, Tracker] = {
    **{method: _track_ours(method) for method in METHODS},
    **{f"{method}-t1w": _track_ours(method, anatomy=True) for method in METHODS},
    "ifod2": _track_mrtrix(anatomy=False),
    "ifod2-act": _track_mrtrix(anatomy=True),
}
