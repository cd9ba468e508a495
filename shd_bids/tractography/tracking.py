"""Probabilistic streamlines through DIPY, many seeds at a time."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
from dipy.core.sphere import Sphere
from dipy.tracking.stopping_criterion import ThresholdStoppingCriterion
from dipy.tracking.tracker import probabilistic_tracking
from jaxtyping import Bool, Float

from shd_bids.errors import TrackingError

from .directions import tracking_sphere
from .field import FodfField, draw_directions, tabulate_fodf
from .seeds import draw_seeds, seed_voxels
from .stopping import ends_in_fluid, fluid_map, white_matter_map

LOGGER = logging.getLogger(__name__)

_N_SEED_BATCH = 2000
_N_SEED_TRIAL = 10_000
_MIN_YIELD = 0.02


@dataclass(frozen=True)
class _Rules:
    step_mm: float
    max_angle_deg: float
    min_length_mm: float
    max_length_mm: float
    stop_threshold: float
    relative_threshold: float
    random_seed: int
    n_threads: int


def default_step_mm(affine: Float[np.ndarray, "4 4"]) -> float:
    """Give half the smallest voxel side."""
    smallest = float(np.linalg.norm(affine[:3, :3], axis=0).min())
    return round(smallest, 4) / 2  # affines are stored in single precision


def track_probabilistic(
    fodf_sh: Float[np.ndarray, "x y z coef"],
    affine: Float[np.ndarray, "4 4"],
    mask: Bool[np.ndarray, "x y z"],
    fractions: Mapping[str, np.ndarray],
    *,
    n_streamlines: int = 100_000,
    seeds: Float[np.ndarray, "seed 3"] | None = None,
    step_mm: float | None = None,
    max_angle_deg: float = 30.0,
    min_length_mm: float = 20.0,
    max_length_mm: float = 250.0,
    seed_threshold: float = 0.5,
    stop_threshold: float = 0.2,
    relative_threshold: float = 0.1,
    random_seed: int = 0,
    n_threads: int = 1,
) -> Iterator[Float[np.ndarray, "_ 3"]]:
    """Follow the fODFs from random points of the white matter, in both directions.

    Parameters
    ----------
    fodf_sh
        SH coefficients, MRtrix3 basis, RAS world axes, MRtrix3 scale.
    affine
        Voxel indices to RAS world mm.
    mask
        Brain mask.
    fractions
        Maps (x, y, z) of ``WM``, ``GM`` and ``CSF``; `stopping` says how they are used.
    n_streamlines
        Number of streamlines to keep. Fewer come, with a warning, when under 2 % of the seeds
        give one.
    seeds
        Points in RAS world mm to start from, each once; then `n_streamlines` does not matter.
    step_mm
        Length of a step; `default_step_mm` by default.
    max_angle_deg
        Largest turn at one step, 0 to 90.
    min_length_mm, max_length_mm
        Shorter and longer streamlines are dropped.
    seed_threshold
        Seeds lie in voxels with more white matter than this.
    stop_threshold
        Streamlines stop where there is less white matter than this.
    relative_threshold
        Directions with less than this fraction of the largest amplitude are not taken.
    random_seed
        The same number gives the same streamlines, whatever the number of threads; those of a
        smaller `n_streamlines` come first.
    n_threads
        Number of processor cores to use.

    Returns
    -------
    streamlines
        An iterator that tracks as it goes; points in RAS world mm, float32.

    Raises
    ------
    TrackingError
        When there is nowhere to start or a setting is impossible.
    """
    if step_mm is None:
        step_mm = default_step_mm(affine)
    generator = np.random.default_rng(random_seed)
    # DIPY multiplies its number with the seed's place: a small one makes neighbours alike.
    rules = _Rules(
        step_mm=step_mm,
        max_angle_deg=max_angle_deg,
        min_length_mm=min_length_mm,
        max_length_mm=max_length_mm,
        stop_threshold=stop_threshold,
        relative_threshold=relative_threshold,
        random_seed=int(generator.integers(100_000, 700_000)),
        n_threads=n_threads,
    )
    _check(rules, n_streamlines)
    white_matter = white_matter_map(fodf_sh, mask, fractions)
    voxels = seed_voxels(white_matter, mask, threshold=seed_threshold)
    field = tabulate_fodf(fodf_sh, affine, white_matter, fluid_map(fractions))
    if seeds is not None:
        if not len(seeds):
            raise TrackingError("No seed points were given; tracking needs at least one.")
        return _track_seeds(field, rules, np.asarray(seeds, dtype=float), generator)
    return islice(
        _track_batches(field, rules, voxels, affine, n_streamlines, generator), n_streamlines
    )


def _check(rules: _Rules, n_streamlines: int) -> None:
    if not 0 < rules.max_angle_deg <= 90:
        raise TrackingError(
            f"The largest turn at one step is {rules.max_angle_deg:g} degrees; "
            "expected more than 0 and at most 90 (--max-angle-deg)."
        )
    if rules.step_mm <= 0 or rules.step_mm > rules.max_length_mm:
        raise TrackingError(
            f"The step is {rules.step_mm:g} mm; expected more than 0 and less than the longest "
            f"streamline, {rules.max_length_mm:g} mm (--step-mm)."
        )
    if not 0 <= rules.min_length_mm < rules.max_length_mm:
        raise TrackingError(
            f"Streamlines of {rules.min_length_mm:g} to {rules.max_length_mm:g} mm are asked for; "
            "the first must be smaller than the second and not negative."
        )
    if n_streamlines < 1:
        raise TrackingError(
            f"{n_streamlines} streamlines are asked for; expected at least 1 (--n-streamlines). "
            "To leave out tracking use --skip-tractography."
        )


def _track_batches(
    field: FodfField,
    rules: _Rules,
    voxels: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    n_streamlines: int,
    generator: np.random.Generator,
) -> Iterator[Float[np.ndarray, "_ 3"]]:
    n_kept = n_seed = 0
    while n_kept < n_streamlines:
        seeds = draw_seeds(voxels, affine, _N_SEED_BATCH, generator)
        for streamline in _track_seeds(field, rules, seeds, generator):
            n_kept += 1
            yield streamline
        n_seed += len(seeds)
        if n_seed >= _N_SEED_TRIAL and n_kept < _MIN_YIELD * n_seed:
            LOGGER.warning(
                "Tracking gave up with %d of %d streamlines: only %.2g %% of %d seeds gave one of "
                "%g to %g mm that ends outside white matter.",
                n_kept,
                n_streamlines,
                100 * n_kept / n_seed,
                n_seed,
                rules.min_length_mm,
                rules.max_length_mm,
            )
            return


def _track_seeds(
    field: FodfField,
    rules: _Rules,
    seeds: Float[np.ndarray, "seed 3"],
    generator: np.random.Generator,
) -> Iterator[Float[np.ndarray, "_ 3"]]:
    """Track from each seed once and yield the streamlines that are long enough and end well."""
    found = probabilistic_tracking(
        seeds,
        ThresholdStoppingCriterion(field.white_matter, rules.stop_threshold),
        field.affine,
        seed_directions=draw_directions(field, seeds, rules.relative_threshold, generator),
        sf=field.amplitudes,
        min_len=0,
        max_len=int(np.ceil(rules.max_length_mm)),
        step_size=rules.step_mm,
        max_angle=rules.max_angle_deg,
        pmf_threshold=rules.relative_threshold,
        sphere=Sphere(xyz=tracking_sphere()),
        nbr_threads=rules.n_threads,
        random_seed=rules.random_seed,
        return_all=False,
    )
    shortest = max(rules.min_length_mm, rules.step_mm)
    trimmed = (_trim(streamline, field) for streamline in found)
    kept = [s for s in trimmed if shortest <= (len(s) - 1) * rules.step_mm <= rules.max_length_mm]
    if field.fluid is not None and kept:
        # The step that left the white matter is not part of the streamline; go it again.
        stops = np.array([p for s in kept for p in (2 * s[0] - s[1], 2 * s[-1] - s[-2])])
        in_fluid = ends_in_fluid(field.to_vox(stops), field.fluid)
        ends_well = ~in_fluid.reshape(-1, 2).any(axis=1)
        kept = [kept[i] for i in np.flatnonzero(ends_well)]
    for streamline in kept:
        yield streamline.astype(np.float32)


def _trim(streamline: Float[np.ndarray, "_ 3"], field: FodfField) -> Float[np.ndarray, "_ 3"]:
    """Keep the longest part that lies in voxels with white matter.

    The map is interpolated, so it is above the threshold up to half a voxel beyond the mask.
    """
    voxels = np.rint(field.to_vox(streamline)).astype(int)
    last = np.array(field.white_matter.shape) - 1
    inside = field.white_matter[tuple(np.clip(voxels, 0, last).T)] > 0
    edges = np.flatnonzero(np.diff(inside, prepend=False, append=False))
    if len(edges) == 0:
        return streamline[:0]
    longest = 2 * np.argmax(edges[1::2] - edges[::2])
    return streamline[edges[longest] : edges[longest + 1]]
