"""Runs joined into one series, at one scale of intensity.

A scanner may set its gain anew for every run. The b=0 images should look alike, so each run is
scaled by the factor that makes the median ratio of its mean b=0 image to the first run's equal 1;
the median, over the voxels that are brighter than their image's mean in both, passes over what
motion changes at the edges. Runs of other phase encoding are distorted otherwise: where one piles
signal up the other draws it out, but both keep its sum, and the sums are compared instead.
"""

import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

LOGGER = logging.getLogger(__name__)

_USUAL = (0.5, 2.0)


def match_intensities(
    runs: Sequence[Float[np.ndarray, "x y z _"]],
    is_b0: Sequence[Bool[np.ndarray, " _"]],
    *,
    names: Sequence[str],
    phases: Sequence[str | None],
) -> Float[np.ndarray, " run"]:
    """Find the factors that bring all runs to the scale of the first one with a b=0 volume.

    Parameters
    ----------
    runs
        On one grid, scanner units; they may differ in their number of volumes.
    is_b0
        Which volumes of each run count as b=0.
    names
        Of the runs, for the log.
    phases
        Directions of their phase encoding; None where it is not known.

    Returns
    -------
    Float[np.ndarray, " run"]
        One factor a run. 1 where a run has no b=0 volume, with a warning; factors outside 0.5 to
        2 are given with a warning.
    """
    factors = np.ones(len(runs))
    reference: Float[np.ndarray, "x y z"] | None = None
    reference_phase: str | None = None
    described = zip(runs, is_b0, names, phases, strict=True)
    for index, (run, among, name, phase) in enumerate(described):
        if not among.any():
            if len(runs) > 1:
                LOGGER.warning(
                    "%s has no b=0 volume: its intensity cannot be matched to the other runs' and "
                    "is left as it is.",
                    name,
                )
            continue
        b0 = run[..., among].mean(axis=3, dtype=np.float64)
        if reference is None:
            reference, reference_phase = b0, phase
        else:
            factors[index] = _factor(b0, reference, name, alike=phase == reference_phase)
    return factors


def merge_runs(
    runs: Sequence[Float[np.ndarray, "x y z _"]], factors: Float[np.ndarray, " run"]
) -> Float[np.ndarray, "x y z volume"]:
    """Join runs in the order given, each multiplied by its factor.

    Parameters
    ----------
    runs
        On one grid.
    factors
        From `match_intensities`.

    Returns
    -------
    Float[np.ndarray, "x y z volume"]
        32-bit; a single run is handed back as it is.

    Examples
    --------
    >>> runs = [np.ones((1, 1, 1, 2)), np.full((1, 1, 1, 1), 4.0)]
    >>> merge_runs(runs, np.array([1.0, 0.25])).ravel().tolist()
    [1.0, 1.0, 1.0]
    """
    if len(runs) == 1 and factors[0] == 1:
        return runs[0]
    n_volume = [run.shape[3] for run in runs]
    merged = np.empty((*runs[0].shape[:3], sum(n_volume)), dtype=np.float32)
    ends = np.cumsum(n_volume)
    for run, factor, end in zip(runs, factors, ends, strict=True):
        np.multiply(run, np.float32(factor), out=merged[..., end - run.shape[3] : end])
    return merged


def _factor(
    b0: Float[np.ndarray, "x y z"], reference: Float[np.ndarray, "x y z"], name: str, *, alike: bool
) -> float:
    bright = (b0 > 0) & (b0 >= b0.mean()) & (reference > 0) & (reference >= reference.mean())
    if not bright.any():
        LOGGER.warning(
            "The b=0 images of %s are dark where the first run's are bright: its intensity is left "
            "as it is. Do the runs show one head in one place?",
            name,
        )
        return 1.0
    if alike:
        factor = 1 / float(np.median(b0[bright] / reference[bright]))
    else:
        factor = float(reference.sum() / b0.sum())
    if _USUAL[0] <= factor <= _USUAL[1]:
        LOGGER.info("%s: intensity multiplied by %.4g to match the first run.", name, factor)
    else:
        LOGGER.warning(
            "%s: intensity multiplied by %.4g to match the first run, expected %g to %g. Check "
            "that both runs are of one acquisition and were converted alike.",
            name,
            factor,
            *_USUAL,
        )
    return factor
