"""The trackers that are measured against each other: the same seeds, lengths and counts.

Seeds lie anywhere in the true white matter; each tracker goes on seeding until it has kept as many
streamlines as asked for. What it does on the way (step, turn, where to stop) is its own default.
"""

import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float

from shd_bids.deconvolution.solution import FodfSolution
from shd_bids.testing.geometry import TISSUES
from shd_bids.testing.scan import Phantom
from shd_bids.tractography.seeds import draw_seeds
from shd_bids.tractography.tracking import track_probabilistic
from shd_bids.tractography.tractogram import write_tck

from .child import run_measured
from .mrtrix import MrtrixError
from .peak_memory import run_measured_here

SEED_WHITE = 0.5  # a seed voxel has more true white matter than this
_SEEDS_FOR_EACH = 1.2  # asked for at once, over what is still missing
_MOST_ROUNDS = 20


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
    settings: dict[str, Any] = field(default_factory=dict)  # of our trackers, beside the defaults

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


def _track_ours(task: Task, tck_file: Path) -> Run:
    """Track in this process; its memory is counted over what it held before."""
    before = cpu_seconds()
    measured = run_measured_here(lambda: write_tck(_streamlines(task), tck_file))
    return Run(measured.seconds, cpu_seconds() - before, measured.peak_memory_mib)


def _streamlines(task: Task) -> Iterator[Float[np.ndarray, "_ 3"]]:
    generator = np.random.default_rng(task.random_seed)
    n_missing = task.n_streamlines
    for _ in range(_MOST_ROUNDS):
        n_seed = int(_SEEDS_FOR_EACH * n_missing) + 100
        found = track_probabilistic(
            task.solution.fodf_sh,
            task.phantom.affine,
            task.phantom.mask,
            task.solution.fractions if task.solution.tissue else {},
            seeds=draw_seeds(task.seed_mask, task.phantom.affine, n_seed, generator),
            min_length_mm=task.min_length_mm,
            max_length_mm=task.max_length_mm,
            random_seed=int(generator.integers(2**31)),
            n_threads=task.n_threads,
            **task.settings,
        )
        for streamline in found:
            yield streamline
            n_missing -= 1
            if n_missing == 0:
                return


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
        "-seeds": _MOST_ROUNDS * task.n_streamlines,
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
    "probabilistic": _track_ours,
    "ifod2": _track_mrtrix(anatomy=False),
    "ifod2-act": _track_mrtrix(anatomy=True),
}
