"""DIPY's trackers, one call for a batch of seeds.

DIPY's parallel transport multiplies the length of its probe by the voxel size where it should
divide by it. Voxels are therefore measured in their own mean side, which is the same for the other
methods and right for this one. The deterministic tracker is the one that DIPY calls EuDX.
"""

import multiprocessing
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from dipy.core.sphere import Sphere
from dipy.tracking.tracker import (
    eudx_tracking,
    pft_tracking,
    probabilistic_tracking,
    ptt_tracking,
)
from jaxtyping import Float

from .directions import tracking_sphere
from .field import AmplitudeField, FodfField, PeakField
from .rules import TrackingRules
from .stopping import stopping_criterion

_N_SEED_BLOCK = 250  # seeds that a process takes at a time
_PROBE_STEPS = 2.0  # length of parallel transport's probe
#: Those of DIPY that are not relative, squared as the amplitudes are: peaks were chosen before,
#: parallel transport compares amplitudes as they are.
_THRESHOLDS = {"deterministic": 0.0, "ptt": 0.1**2}

_PARALLEL = {
    "probabilistic": probabilistic_tracking,
    "deterministic": eudx_tracking,
    "ptt": ptt_tracking,
}


class Tracker:
    """Follows fODFs from seeds, in both directions."""

    def __init__(
        self, field: FodfField, rules: TrackingRules, *, dipy_seed: int, n_threads: int
    ) -> None:
        sides = np.linalg.norm(field.affine[:3, :3], axis=0)
        unit = float(np.cbrt(sides.prod()))
        self._field, self._n_threads = field, n_threads
        self._run = _PARALLEL.get(rules.method)
        self._settings: dict[str, Any] = {
            "sc": stopping_criterion(field.anatomy, rules.step_mm / unit),
            "affine": field.affine,
            "max_angle": rules.max_angle_deg,
            "random_seed": dipy_seed,
            "return_all": True,  # ends are judged by where they are, not by what stopped them
        }
        if isinstance(field, AmplitudeField):
            sphere = Sphere(xyz=tracking_sphere())
            self._settings |= {"sf": field.squares, "sphere": sphere}
        elif isinstance(field, PeakField):
            self._settings |= {"pam": field, "sphere": Sphere(xyz=field.odf_vertices)}
        if self._run is None:
            self._settings |= {
                "min_len": 0,
                "max_len": rules.max_length_mm + rules.step_mm,
                "step_size": rules.step_mm,
                "pmf_threshold": rules.relative_threshold**2,
            }
            return
        self._settings |= {
            "voxel_size": sides / unit,
            "min_len": 0,
            "max_len": int(np.ceil(rules.max_length_mm / unit)) + 1,
            "step_size": rules.step_mm / unit,
            "nbr_threads": n_threads,
            "pmf_threshold": _THRESHOLDS.get(rules.method, rules.relative_threshold**2),
        }
        if rules.method == "ptt":
            self._settings["probe_length"] = _PROBE_STEPS * rules.step_mm / unit

    def follow(
        self, seeds: Float[np.ndarray, "seed 3"], directions: Float[np.ndarray, "seed 3"]
    ) -> list[Float[np.ndarray, "_ 3"]]:
        """Track from each seed once.

        Parameters
        ----------
        seeds
            RAS world mm.
        directions
            Unit vectors in the axes of the image to set out along.

        Returns
        -------
        streamlines
            In the order of their seeds, RAS world mm, float64.
        """
        if self._run is not None:
            return list(self._run(seeds, seed_directions=directions, **self._settings))
        starts = range(0, len(seeds), _N_SEED_BLOCK)
        blocks = [slice(start, start + _N_SEED_BLOCK) for start in starts]
        with _workers(self._settings, self._n_threads) as pool:
            parts = pool.map(_filter_particles, [(seeds[b], directions[b, None]) for b in blocks])
            return [line for part in parts for line in part]


#: What the processes of particle filtering share; they inherit it, so that nothing is copied.
_inherited: dict[str, Any] = {}


@contextmanager
def _workers(settings: Mapping[str, Any], n_process: int) -> Iterator[ProcessPoolExecutor]:
    """Open processes that know the fODFs; DIPY's particles draw from numpy's global generator."""
    _inherited.update(settings)
    try:
        fork = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(n_process, mp_context=fork) as pool:
            yield pool
    finally:
        _inherited.clear()


def _filter_particles(block: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
    seeds, directions = block
    return list(pft_tracking(seeds, seed_directions=directions, **_inherited))
