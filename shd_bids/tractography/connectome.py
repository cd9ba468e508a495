"""How many streamlines join each pair of regions, how long they are and what they run through.

An end belongs to the nearest labelled voxel whose centre lies less than a radius away, as in
MRtrix3's ``tck2connectome``. The centres are kept in a tree and asked with the end itself: a map of
the nearest label per voxel would be a lookup, but up to half a voxel's diagonal wrong.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer
from nibabel.affines import apply_affine
from scipy.spatial import KDTree

from shd_bids.errors import TrackingError

from .sampling import sample_image
from .streamlines import Streamlines

LOGGER = logging.getLogger(__name__)

UNASSIGNED = -1


@dataclass(frozen=True, eq=False)
class Connectome:
    """Symmetric matrices over the regions in the order of their table.

    Attributes
    ----------
    count
        Streamlines between two regions; those that return to their own are on the diagonal.
    mean_length_mm
        NaN where there is no streamline.
    mean_afd
        Mean over the streamlines of the mean of the AFD map along each; NaN where there is none.
    weight_sum
        Sum of the streamlines' weights, or None when they have none.
    n_ends
        Ends assigned to each region, whatever became of the other end.
    n_streamlines
        All that were given.
    n_lost
        Those with at least one end out of reach of every region; they are in no matrix.
    """

    count: Int[np.ndarray, "region region"]
    mean_length_mm: Float[np.ndarray, "region region"]
    mean_afd: Float[np.ndarray, "region region"]
    weight_sum: Float[np.ndarray, "region region"] | None
    n_ends: Int[np.ndarray, " region"]
    n_streamlines: int
    n_lost: int


class RegionFinder:
    """Finds the region that a point belongs to.

    Parameters
    ----------
    labels
        Label image; 0 and labels that are not asked for are background.
    affine
        Voxel indices to RAS world mm.
    numbers
        Label of each region, each once, above 0, however sparse.
    radius_mm
        A voxel whose centre is as far or farther is out of reach.
    """

    def __init__(
        self,
        labels: Integer[np.ndarray, "x y z"],
        affine: Float[np.ndarray, "4 4"],
        numbers: Sequence[int],
        *,
        radius_mm: float,
    ) -> None:
        if radius_mm <= 0:
            raise TrackingError(
                f"Ends of streamlines are to be assigned to regions within {radius_mm:g} mm; "
                "expected more than 0, such as 4 (--assignment-radius-mm)."
            )
        order = np.argsort(numbers)
        ascending = np.asarray(numbers, dtype=np.int64)[order]
        voxels = np.argwhere(labels != 0)
        found = labels[tuple(voxels.T)].astype(np.int64)
        place = np.searchsorted(ascending, found).clip(max=len(ascending) - 1)
        known = ascending[place] == found if len(ascending) else np.zeros(len(found), dtype=bool)
        self.radius_mm = radius_mm
        self.region = order[place[known]]  # (labelled voxel,)
        self.tree = KDTree(apply_affine(affine, voxels[known]))

    def __call__(self, points: Float[np.ndarray, "point 3"]) -> Int[np.ndarray, " point"]:
        """Give the region of each point, RAS world mm, or -1 where none is in reach."""
        if not len(self.region):
            return np.full(len(points), UNASSIGNED)
        _, nearest = self.tree.query(points, distance_upper_bound=self.radius_mm)
        return np.append(self.region, UNASSIGNED)[nearest]  # the tree's word for none is its size


def build_connectome(
    batches: Iterable[Streamlines],
    find_region: RegionFinder,
    n_region: int,
    *,
    afd: Float[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    weights: Float[np.ndarray, " streamline"] | None = None,
) -> Connectome:
    """Go through streamlines once and sum up what joins each pair of regions.

    Parameters
    ----------
    batches
        All streamlines, in the order of their weights.
    find_region
        Gives regions from 0 to `n_region` - 1.
    n_region
        Number of regions, those without a voxel included.
    afd
        Total apparent fibre density.
    affine
        Voxel indices of `afd` to RAS world mm.
    weights
        One per streamline.

    Returns
    -------
    connectome
        With a warning when nothing is joined.

    Raises
    ------
    TrackingError
        If there are more or fewer weights than streamlines.
    """
    n_pair = n_region**2
    count, n_ends = np.zeros(n_pair, dtype=np.int64), np.zeros(n_region, dtype=np.int64)
    sums = {name: np.zeros(n_pair) for name in ("length", "afd", "weight")}
    n_streamlines = n_lost = 0
    for batch in batches:
        which = slice(n_streamlines, n_streamlines + len(batch))
        n_streamlines += len(batch)
        ends = find_region(batch.ends.reshape(-1, 3))
        n_ends += np.bincount(ends[ends != UNASSIGNED], minlength=n_region)
        first, second = np.sort(ends.reshape(-1, 2), axis=1).T
        joined = first != UNASSIGNED
        n_lost += int(np.count_nonzero(~joined))
        pair = (first * n_region + second)[joined]
        count += np.bincount(pair, minlength=n_pair)
        values = {
            "length": batch.lengths_mm,
            "afd": mean_along(batch, afd, affine),
            "weight": None if weights is None else weights[which],
        }
        for name, value in values.items():
            if value is not None and len(value) == len(batch):
                sums[name] += np.bincount(pair, value[joined], minlength=n_pair)
    if weights is not None and len(weights) != n_streamlines:
        raise TrackingError(
            f"There are {len(weights)} weights for {n_streamlines} streamlines; expected one each, "
            "in the same order. Weigh the tractogram again."
        )
    if not count.any():
        LOGGER.warning(
            "None of %d streamlines joins two regions of the atlas: every count is 0. See whether "
            "the atlas lies on the brain, and whether streamlines were found.", n_streamlines,
        )  # fmt: skip
    count, length, afd_sum, weight = (
        _mirror(flat.reshape(n_region, n_region)) for flat in (count, *sums.values())
    )
    return Connectome(
        count=count,
        mean_length_mm=_divide(length, count),
        mean_afd=_divide(afd_sum, count),
        weight_sum=None if weights is None else weight,
        n_ends=n_ends,
        n_streamlines=n_streamlines,
        n_lost=n_lost,
    )


def mean_along(
    batch: Streamlines, image: Float[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, " streamline"]:
    """Average an image along each streamline, by length, as ``tcksample -stat_tck mean`` does.

    Parameters
    ----------
    batch
        Streamlines.
    image
        One number per voxel.
    affine
        Voxel indices to RAS world mm.

    Returns
    -------
    means
        One per streamline; that of a single point is the image there.
    """
    values = sample_image(image, affine, batch.points)
    steps = batch.steps_mm
    share = steps.astype(float)  # the two steps that meet at each point
    share[1:] += steps[:-1]
    owner, n = batch.owner, len(batch)
    length = np.bincount(owner, share, n)
    share[length[owner] == 0] = 1.0
    return np.bincount(owner, share * values, n) / np.bincount(owner, share, n)


def _mirror(upper: np.ndarray) -> np.ndarray:
    """Copy what lies above the diagonal below it."""
    return np.triu(upper) + np.triu(upper, 1).T


def _divide(
    total: Float[np.ndarray, "region region"], count: Int[np.ndarray, "region region"]
) -> Float[np.ndarray, "region region"]:
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def unique_names(names: Sequence[str], numbers: Sequence[str]) -> list[str]:
    """Tell regions of one name apart by their labels: each names a column of the tables.

    Examples
    --------
    >>> unique_names(["cortex", "other", "cortex", "name"], ["1", "2", "30", "4"])
    ['cortex_1', 'other', 'cortex_30', 'name_4']
    """
    taken = Counter([*names, "name"])  # the first column is called name
    return [
        name if taken[name] == 1 else f"{name}_{number}"
        for name, number in zip(names, numbers, strict=True)
    ]
