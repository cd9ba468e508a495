"""Values of maps along a bundle, from the same end in everybody.

Yeatman et al., PLoS ONE 7, 2012: each streamline has the same number of nodes, and counts less at
a node the farther it is from the core of the bundle there. DIPY's `gaussian_weights` drops half
of each covariance matrix, so that streamlines count wrongly wherever a bundle is wide askew to
the axes, and takes a Python loop over nodes and streamlines; these weights are the exact ones.
"""

from dataclasses import dataclass

import numpy as np
from dipy.segment.clustering import QuickBundles
from dipy.segment.metricspeed import AveragePointwiseEuclideanMetric
from jaxtyping import Bool, Float

from .draw import EvenLines
from .sampling import sample_image

N_NODE = 100

_STARTS = ("left", "posterior", "inferior")
_CORE = 0.1  # standard deviations; closer than this all count the same
_ROUNDING_MM = 0.01


@dataclass(frozen=True)
class Profile:
    """Values of a map along a bundle; NaN where the map has none.

    Attributes
    ----------
    mean, std
        Weighted by closeness to the core, in the map's unit.
    """

    mean: Float[np.ndarray, " node"]
    std: Float[np.ndarray, " node"]


def centroid(model: EvenLines) -> tuple[Float[np.ndarray, "node 3"], str]:
    """Return the middle line of a model bundle and the name of the end where it starts.

    It starts left, posterior or inferior, whichever way its ends are farthest apart, so that
    neither the order nor the direction of the model's streamlines matters.

    Examples
    --------
    >>> import numpy as np
    >>> up = np.array([[0.0, 0.0, 2.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]], dtype=np.float32)
    >>> line, start = centroid(np.stack([up, up[::-1]]))
    >>> line[:, 2].tolist(), start
    ([0.0, 1.0, 2.0], 'inferior')
    """
    one = QuickBundles(np.inf, metric=AveragePointwiseEuclideanMetric())
    middle = one.cluster(list(model.astype(np.float32))).centroids[0]
    way = middle[-1] - middle[0]
    axis = int(np.argmax(np.abs(way)))
    return (middle if way[axis] >= 0 else middle[::-1]), _STARTS[axis]


def runs_backwards(lines: EvenLines, along: Float[np.ndarray, "node 3"]) -> Bool[np.ndarray, " _"]:
    """Say which streamlines are closer to a middle line when turned round."""
    forth = np.linalg.norm(lines - along, axis=2).mean(axis=1)
    back = np.linalg.norm(lines - along[::-1], axis=2).mean(axis=1)
    return back < forth


def core_weights(lines: EvenLines) -> Float[np.ndarray, "_ node"]:
    """Weigh streamlines by closeness to the core: one over the Mahalanobis distance.

    Parameters
    ----------
    lines
        All in one direction, mm.

    Returns
    -------
    weights
        Sum to 1 at each node.
    """
    apart = np.asarray(lines, dtype=float) - lines.mean(axis=0, dtype=float)
    spread = np.einsum("sni,snj->nij", apart, apart) / len(lines)
    inverse = np.linalg.inv(spread + _ROUNDING_MM**2 * np.eye(3))
    distance = np.sqrt(np.einsum("sni,nij,snj->sn", apart, inverse, apart, optimize=True))
    weights = 1 / np.maximum(distance, _CORE)
    return weights / weights.sum(axis=0)


def profile(
    data: Float[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    lines: EvenLines,
    weights: Float[np.ndarray, "_ node"],
) -> Profile:
    """Average a map over the streamlines at each node.

    Parameters
    ----------
    data
        The map; voxels that are not finite do not count.
    affine
        Voxel indices of the map to RAS world mm.
    lines
        All in one direction, RAS world mm.
    weights
        Of each streamline at each node.

    Returns
    -------
    profile
        From the start of the streamlines to their end.
    """
    values = sample_image(data, affine, lines.reshape(-1, 3)).reshape(weights.shape)
    known = np.isfinite(values)
    share, values = np.where(known, weights, 0.0), np.where(known, values, 0.0)
    total = share.sum(axis=0)
    share = share / np.where(total > 0, total, np.nan)
    mean = (share * values).sum(axis=0)
    return Profile(mean, np.sqrt((share * (values - mean) ** 2).sum(axis=0)))
