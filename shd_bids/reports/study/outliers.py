"""Series that stand apart from the others of their acquisition, measure by measure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shd_bids.dwi.spread import LARGEST_Z, LEAST_SERIES, robust_z

from .measures import SeriesRow, measure_names

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
