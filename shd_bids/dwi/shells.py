"""Shells: the b-values of an acquisition, grouped."""

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from shd_bids.errors import GradientTableError

LOGGER = logging.getLogger(__name__)

MAX_SHELLS = 7
MIN_VOLUMES = 6
_MAX_WIDTH = 0.2  # of the shell's b-value


@dataclass(frozen=True, eq=False)
class Shells:
    """Which volume belongs to which b-value.

    ``bvals`` ascends and starts with 0.0; ``index[v]`` is the shell of volume ``v``.
    """

    bvals: Float[np.ndarray, " shell"]
    index: Int[np.ndarray, " volume"]

    @property
    def n_shell(self) -> int:
        """Number of shells, b=0 among them."""
        return len(self.bvals)

    @property
    def counts(self) -> Int[np.ndarray, " shell"]:
        """Number of volumes of each shell."""
        return np.bincount(self.index, minlength=self.n_shell)

    def volumes(self, shell: int) -> Int[np.ndarray, " member"]:
        """Give the volume numbers of one shell; shell 0 is b=0."""
        return np.flatnonzero(self.index == shell)

    def describe(self) -> str:
        """Say it in words, as in ``7 x b=0, 64 x b=1000``."""
        pairs = zip(self.counts, self.bvals, strict=True)
        return ", ".join(f"{count} x b={bval:g}" for count, bval in pairs)


def cluster_shells(
    bvals: Float[np.ndarray, " volume"], *, b0_threshold: float = 100.0, tolerance: float = 80.0
) -> Shells:
    """Group b-values into shells: a gap wider than the tolerance starts a new one.

    A shell's b-value is the median of its members, rounded to 1 s/mm²; all volumes up to the
    b=0 threshold form the shell 0.0.

    Parameters
    ----------
    bvals
        One per volume, s/mm².
    b0_threshold
        A volume with b up to this counts as b=0, s/mm².
    tolerance
        Neighbouring b-values at most this far apart share a shell, s/mm².

    Returns
    -------
    Shells
        Ascending, b=0 first.

    Raises
    ------
    GradientTableError
        If no volume counts as b=0, none is diffusion-weighted, a shell has fewer than 6 volumes,
        or the b-values do not form shells (diffusion spectrum imaging).

    Examples
    --------
    >>> cluster_shells(np.array([0.5] + [999.0, 1000.0] * 16)).describe()
    '1 x b=0, 32 x b=1000'
    """
    is_b0 = bvals <= b0_threshold
    if not is_b0.any():
        raise GradientTableError(
            f"No b=0 volume: the smallest b-value is {bvals.min():g}, expected at most "
            f"{b0_threshold:g} s/mm². Give a higher --b0-threshold if that one is meant."
        )
    if is_b0.all():
        raise GradientTableError(
            f"All {len(bvals)} volumes count as b=0 (largest b-value {bvals.max():g}, "
            f"--b0-threshold {b0_threshold:g}): there is nothing to estimate fibres from."
        )
    order = np.flatnonzero(~is_b0)[np.argsort(bvals[~is_b0], kind="stable")]
    starts = np.flatnonzero(np.diff(bvals[order]) > tolerance) + 1
    groups = np.split(order, starts)
    _refuse_unshelled([bvals[group] for group in groups], tolerance)
    index = np.zeros(len(bvals), dtype=np.int64)
    for shell, group in enumerate(groups, start=1):
        index[group] = shell
    centres = [0.0, *(float(np.round(np.median(bvals[group]))) for group in groups)]
    shells = Shells(np.array(centres), index)
    LOGGER.debug("Shells: %s.", shells.describe())
    return shells


def _refuse_unshelled(groups: list[Float[np.ndarray, " _"]], tolerance: float) -> None:
    widths = [float(np.ptp(group)) for group in groups]
    wide = [
        group
        for group, width in zip(groups, widths, strict=True)
        if width > max(tolerance, _MAX_WIDTH * float(np.median(group)))
    ]
    if len(groups) > MAX_SHELLS or wide:
        found = (
            f"{len(groups)} groups of b-values from {groups[0].min():g} to {groups[-1].max():g}"
            if not wide
            else f"b-values spread without a gap from {wide[0].min():g} to {wide[0].max():g}"
        )
        raise GradientTableError(
            f"These data have no shells: found {found} s/mm², expected at most {MAX_SHELLS} "
            "b-values with many directions each. Diffusion spectrum imaging (a grid in q-space) "
            "cannot be deconvolved; for scattered b-values try another --shell-tolerance "
            f"(now {tolerance:g})."
        )
    small = [group for group in groups if len(group) < MIN_VOLUMES]
    if small:
        raise GradientTableError(
            f"The shell at b={np.median(small[0]):g} has {len(small[0])} volumes, expected at "
            f"least {MIN_VOLUMES}. Join it to its neighbour with a larger --shell-tolerance (now "
            f"{tolerance:g}), count it as b=0 with --b0-threshold, or remove these volumes."
        )
