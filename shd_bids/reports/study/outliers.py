"""Series that stand apart from the others of their acquisition, measure by measure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .measures import SeriesRow, measure_names

#: Beyond this modified z-score a value stands apart (Iglewicz and Hoaglin, 1993).
LARGEST_Z = 3.5
#: Fewer series than this tell nothing about what is usual.
LEAST_SERIES = 5

_NORMAL_MAD = 0.6745  # median absolute deviation of a normal distribution, in its sigma
_NORMAL_MEAN_AD = 0.7979  # mean absolute deviation, alike
_ROUNDING = 1e-4  # relative; measures are written with six figures
_CATEGORIES = ("gradient_check",)


@dataclass(frozen=True)
class Spread:
    """What is usual of one measure in one acquisition.

    ``sigma`` is a robust standard deviation, 0 where all values are alike; None where there are
    too few series to tell.
    """

    acquisition: str
    name: str
    n_series: int
    median: float
    sigma: float | None


@dataclass(frozen=True)
class Outlier:
    """One value that stands apart."""

    row: SeriesRow
    spread: Spread
    value: float
    z_score: float


def robust_z(values: Float[np.ndarray, " value"]) -> tuple[float, float, np.ndarray]:
    """Give the median, a robust standard deviation, and each value's modified z-score.

    The deviation comes from the median absolute deviation; where more than half of the values are
    alike, and that is 0, from the mean absolute deviation (Iglewicz and Hoaglin, How to Detect and
    Handle Outliers, 1993).

    Examples
    --------
    >>> median, sigma, z = robust_z(np.array([1.0, 2.0, 3.0, 4.0, 40.0]))
    >>> median, float(np.round(z[-1], 1))
    (3.0, 25.0)
    >>> bool(robust_z(np.array([64.0] * 9 + [60.0]))[2][-1] < -LARGEST_Z)
    True
    """
    median = float(np.median(values))
    deviation = values - median
    deviation = np.where(np.abs(deviation) <= _ROUNDING * abs(median), 0.0, deviation)
    sigma = float(np.median(np.abs(deviation))) / _NORMAL_MAD
    if sigma == 0:
        sigma = float(np.abs(deviation).mean()) / _NORMAL_MEAN_AD
    return median, sigma, deviation / sigma if sigma > 0 else np.zeros_like(values)


def find_outliers(rows: Sequence[SeriesRow]) -> tuple[list[Spread], list[Outlier]]:
    """Compare every series with the others of its acquisition.

    Parameters
    ----------
    rows
        Of the whole study.

    Returns
    -------
    spreads
        One for each measure and acquisition that has it.
    outliers
        The farthest first.
    """
    spreads, outliers = [], []
    for acquisition, members in by_acquisition(rows).items():
        for name in measure_names(members):
            having = [row for row in members if name in row.measures]
            values = np.array([row.measures[name] for row in having], dtype=np.float64)
            median, sigma, z_scores = robust_z(values)
            judged = len(having) >= LEAST_SERIES and name not in _CATEGORIES
            spread = Spread(acquisition, name, len(having), median, sigma if judged else None)
            spreads.append(spread)
            if judged:
                outliers += [
                    Outlier(having[i], spread, float(values[i]), float(z_scores[i]))
                    for i in np.flatnonzero(np.abs(z_scores) > LARGEST_Z)
                ]
    return spreads, sorted(outliers, key=lambda one: -abs(one.z_score))


def by_acquisition(rows: Sequence[SeriesRow]) -> dict[str, list[SeriesRow]]:
    """Put the series of one acquisition together, the commonest first."""
    groups: dict[str, list[SeriesRow]] = {}
    for row in rows:
        groups.setdefault(row.acquisition, []).append(row)
    return dict(sorted(groups.items(), key=lambda pair: -len(pair[1])))
