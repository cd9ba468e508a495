"""How far a value lies from what is usual among its like."""

import numpy as np
from jaxtyping import Float

#: Beyond this modified z-score a value stands apart (Iglewicz and Hoaglin, 1993).
LARGEST_Z = 3.5
#: Fewer series than this tell nothing about what is usual.
LEAST_SERIES = 5

_NORMAL_MAD = 0.6745  # median absolute deviation of a normal distribution, in its sigma
_NORMAL_MEAN_AD = 0.7979  # mean absolute deviation, alike
_ROUNDING = 1e-4  # relative; measures are written with six figures


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
