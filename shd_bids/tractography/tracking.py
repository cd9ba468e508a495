"""Streamlines from seeds, many at a time."""

import logging
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from shd_bids.errors import TrackingError

from .field import FodfField, list_peaks, tabulate_fodf
from .rules import TrackingRules
from .seeds import SeedRegion
from .stopping import Anatomy, good_ends
from .streamlines import Streamlines
from .trackers import Tracker

LOGGER = logging.getLogger(__name__)

_N_SEED_FIRST = 250  # batches double from here, whatever is asked for: the same seeds come first
_N_SEED_BATCH = 4000
_N_SEED_TRIAL = 20_000
_MIN_YIELD = 0.02


def track_streamlines(
    fodf_sh: Float[np.ndarray, "x y z coef"],
    affine: Float[np.ndarray, "4 4"],
    anatomy: Anatomy,
    seeds: SeedRegion,
    rules: TrackingRules,
    *,
    n_streamlines: int | None = None,
    seeds_per_voxel: int | None = None,
    n_threads: int = 1,
) -> Iterator[Streamlines]:
    """Follow fODFs from random points of a region, in both directions.

    Parameters
    ----------
    fodf_sh
        SH coefficients, MRtrix3 basis, RAS world axes, MRtrix3 scale.
    affine
        Voxel indices to RAS world mm.
    anatomy
        Tissues on the same grid.
    seeds
        Where to start.
    rules
        How to go on and what to keep.
    n_streamlines
        Number of streamlines to keep; points are drawn from the region until they are found. Fewer
        come, with a warning, when under 2 % of the points give one.
    seeds_per_voxel
        Instead: how many points of each voxel to start from, each once.
    n_threads
        Number of processor cores to use.

    Returns
    -------
    batches
        An iterator that tracks as it goes.

    Raises
    ------
    TrackingError
        When there is nothing to follow, or not one of the two numbers is given.
    """
    if (n_streamlines is None) == (seeds_per_voxel is None):
        raise TrackingError(
            "Expected either a number of streamlines (--n-streamlines) or of seeds in each voxel "
            "(--seeds-per-voxel)."
        )
    if (n_streamlines or seeds_per_voxel or 0) < 1:
        raise TrackingError(
            f"--n-streamlines is {n_streamlines} and --seeds-per-voxel {seeds_per_voxel}; expected "
            "at least 1. To leave out tracking use --skip-tractography."
        )
    if not anatomy.followed.any():
        raise TrackingError(
            "There is no fODF to follow inside the mask. Check the mask and the response functions."
        )
    if rules.method == "pft":
        anatomy.need_grey_matter("--tracking-method pft", "--tracking-method probabilistic")
    generator = np.random.default_rng(rules.random_seed)
    # DIPY multiplies its number with the seed's place: a small one makes neighbours alike.
    dipy_seed = int(generator.integers(100_000, 700_000))
    field: FodfField
    if rules.method == "deterministic":
        field = list_peaks(fodf_sh, affine, anatomy, relative_threshold=rules.relative_threshold)
    else:
        field = tabulate_fodf(fodf_sh, affine, anatomy)
    tracker = Tracker(field, rules, dipy_seed=dipy_seed, n_threads=n_threads)
    if seeds_per_voxel is not None:
        return _track_all(field, tracker, rules, seeds, seeds_per_voxel, generator)
    return _track_until(field, tracker, rules, seeds, n_streamlines or 1, generator)


def _track_all(
    field: FodfField,
    tracker: Tracker,
    rules: TrackingRules,
    seeds: SeedRegion,
    per_voxel: int,
    generator: np.random.Generator,
) -> Iterator[Streamlines]:
    for points in seeds.spread(per_voxel, _N_SEED_BATCH, generator):
        yield _track_seeds(field, tracker, rules, points, generator)


def _track_until(
    field: FodfField,
    tracker: Tracker,
    rules: TrackingRules,
    seeds: SeedRegion,
    n_streamlines: int,
    generator: np.random.Generator,
) -> Iterator[Streamlines]:
    n_kept = n_seed = 0
    while n_kept < n_streamlines:
        points = seeds.draw(min(max(_N_SEED_FIRST, n_seed), _N_SEED_BATCH), generator)
        found = _track_seeds(field, tracker, rules, points, generator)
        wanted = np.arange(len(found)) < n_streamlines - n_kept
        yield found.where(wanted)
        n_kept, n_seed = n_kept + len(found), n_seed + len(points)
        if n_seed >= _N_SEED_TRIAL and n_kept < _MIN_YIELD * n_seed:
            LOGGER.warning(
                "Tracking gave up with %d of %d streamlines: only %.2g %% of %d seeds gave one of "
                "%g to %g mm whose ends are valid (--valid-ends %s).",
                n_kept,
                n_streamlines,
                100 * n_kept / n_seed,
                n_seed,
                rules.min_length_mm,
                rules.max_length_mm,
                rules.valid_ends,
            )
            return


def _track_seeds(
    field: FodfField,
    tracker: Tracker,
    rules: TrackingRules,
    seeds: Float[np.ndarray, "seed 3"],
    generator: np.random.Generator,
) -> Streamlines:
    """Track from each seed once and keep the streamlines that are long enough and end well."""
    directions = field.draw_directions(seeds, rules.relative_threshold, generator)
    found = Streamlines.of(tracker.follow(seeds, directions))
    if not field.anatomy.knows_grey_matter:
        found = _keep_inside(found, field)
    n_step = found.n_points - 1
    slack = 1e-3
    fewest = max(rules.min_length_mm / rules.step_mm, 1.0) - slack
    most = rules.max_length_mm / rules.step_mm + slack
    kept = found.where((n_step >= fewest) & (n_step <= most))
    if rules.valid_ends != "any" and len(kept):
        # The step that led to the stop is not part of the streamline; go it again.
        first, last = kept.first, kept.last
        stops = np.stack(
            [
                2 * kept.points[first] - kept.points[first + 1],
                2 * kept.points[last] - kept.points[last - 1],
            ],
            axis=1,
        ).astype(float)
        places = field.to_vox(stops.reshape(-1, 3))
        good = good_ends(places, field.anatomy, rules.valid_ends).reshape(-1, 2)
        kept = kept.where(good[:, 0] & good[:, 1])
    return kept


def _keep_inside(found: Streamlines, field: FodfField) -> Streamlines:
    """Keep the longest part of each streamline that lies in voxels with white matter.

    The map is interpolated, so it is above the threshold up to half a voxel beyond the mask.
    """
    white_matter = field.anatomy.white_matter
    inside = white_matter[field.nearest(found.points.astype(float))] > 0
    if inside.all():
        return found
    # A run is a stretch of points of one streamline that are all inside, or all outside.
    owner = found.owner
    begins = np.flatnonzero(
        (np.diff(owner, prepend=-1) != 0) | (np.diff(inside, prepend=inside[:1]) != 0)
    )
    n_points = np.diff(begins, append=len(owner))
    score = np.where(inside[begins], n_points, 0)
    order = np.lexsort((-score, owner[begins]))
    _, best = np.unique(owner[begins][order], return_index=True)
    longest = order[best]
    longest = longest[score[longest] > 0]
    kept = np.zeros(len(begins), dtype=bool)
    kept[longest] = True
    return Streamlines(found.points[np.repeat(kept, n_points)], n_points[kept])
