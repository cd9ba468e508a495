"""Streamlines against bundles that are known: connections, overlap and overreach.

The measures are those of the Tractometer (Côté et al., Medical Image Analysis 2013).

A streamline's end counts in an end region if it lies in one of its voxels or in one that shares a
face with it, which is one voxel of tolerance, the same for all. A streamline is

- a *valid connection* if its two ends lie in the two end regions of one bundle;
- an *invalid connection* if they lie in two end regions that no bundle joins;
- *no connection* otherwise: an end lies in no region, or both lie in the same one.

A bundle is found if it has a valid connection; each pair of regions with an invalid connection is
an invalid bundle. Of a bundle's voxels, the share that its valid connections cross is its
*overlap*; the voxels that they cross outside it and its end regions, as a share of its own, are its
*overreach*. With overlap as recall, and as precision the share of crossed voxels that are its own,
comes the *F1*. A bundle that was not found has an overlap, an overreach and an F1 of 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import binary_dilation

from shd_bids.tractography.grid import Grid
from shd_bids.tractography.streamlines import Streamlines

from .bundles import BundleTruth


@dataclass
class Tractometer:
    """Scores streamlines batch by batch.

    Attributes
    ----------
    truth
        Bundles and end regions.
    n_valid
        Valid connections of each bundle.
    n_streamline
        All that were scored.
    invalid
        Number of connections of each pair of end regions that no bundle joins. Region
        ``2 i + j`` is end ``j`` of bundle ``i``.
    """

    truth: BundleTruth
    n_streamline: int = 0
    n_valid: Int[np.ndarray, " bundle"] = field(init=False)
    invalid: dict[tuple[int, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        masks, ends = self.truth.masks, self.truth.ends
        regions = ends.reshape(-1, *masks.shape[1:])
        # flat, with one more voxel for what lies outside of the image
        self._near = _flatten(np.stack([binary_dilation(region) for region in regions]))
        self._within = _flatten(masks)
        self._crossed = np.zeros_like(self._within)
        self.n_valid = np.zeros(len(masks), dtype=int)

    def add(self, batch: Streamlines) -> None:
        """Count the connections of some streamlines and mark what the valid ones cross."""
        if not len(batch):
            return
        first, last = (
            self._near[:, self._voxels(point)] for point in np.moveaxis(batch.ends, 1, 0)
        )
        joins = (first[0::2] & last[1::2]) | (first[1::2] & last[0::2])  # (bundle, streamline)
        valid = joins.any(axis=0)
        self.n_streamline += len(batch)
        self._count_invalid(first[:, ~valid], last[:, ~valid])
        if valid.any():
            self._mark(batch.where(valid), joins[:, valid])

    def score(self) -> dict[str, int | float]:
        """Give the measures over all bundles.

        Returns
        -------
        score
            ``valid``, ``invalid`` and ``none``: connections in % of all streamlines;
            ``valid_bundles``, ``invalid_bundles`` and ``n_bundle``: counts; ``overlap``,
            ``overreach`` and ``f1``: in %, averaged over all bundles.
        """
        total = max(self.n_streamline, 1)
        n_valid, n_invalid = int(self.n_valid.sum()), sum(self.invalid.values())
        per_bundle = self.score_bundles()
        return {
            "n_streamline": self.n_streamline,
            "valid": 100 * n_valid / total,
            "invalid": 100 * n_invalid / total,
            "none": 100 * (self.n_streamline - n_valid - n_invalid) / total,
            "valid_bundles": int((self.n_valid > 0).sum()),
            "invalid_bundles": len(self.invalid),
            "n_bundle": len(self.n_valid),
        } | {name: 100 * float(values.mean()) for name, values in per_bundle.items()}

    def score_bundles(self) -> dict[str, Float[np.ndarray, " bundle"]]:
        """Give ``overlap``, ``overreach`` and ``f1`` of each bundle, as shares."""
        own = self._within.sum(axis=1)
        near_end = _flatten(np.any(self.truth.ends, axis=1))
        hit = (self._crossed & self._within).sum(axis=1)
        missed = (self._crossed & ~self._within & ~near_end).sum(axis=1)
        overlap = hit / np.maximum(own, 1)
        precision = hit / np.maximum(hit + missed, 1)
        return {
            "overlap": overlap,
            "overreach": missed / np.maximum(own, 1),
            "f1": 2 * overlap * precision / np.maximum(overlap + precision, 1e-9),
        }

    def _count_invalid(
        self,
        first: Bool[np.ndarray, "region streamline"],
        last: Bool[np.ndarray, "region streamline"],
    ) -> None:
        ends = np.sort([first.argmax(axis=0), last.argmax(axis=0)], axis=0)
        joined = first.any(axis=0) & last.any(axis=0) & ~(first & last).any(axis=0)
        pairs, counts = np.unique(ends[:, joined], axis=1, return_counts=True)
        for (a, b), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
            self.invalid[a, b] = self.invalid.get((a, b), 0) + count

    def _mark(self, batch: Streamlines, joins: Bool[np.ndarray, "bundle streamline"]) -> None:
        """Mark the crossed voxels of the bundle in which most of a streamline lies."""
        voxels = self._voxels(batch.points)
        inside = [np.bincount(batch.owner, row[voxels], len(batch)) for row in self._within]
        bundle = np.argmax(np.where(joins, np.array(inside), -1.0), axis=0)
        self.n_valid += np.bincount(bundle, minlength=len(joins))
        x, y, z = self.truth.masks.shape[1:]
        owner, voxel = Grid(self.truth.affine, (x, y, z)).crossed(batch)
        self._crossed[bundle[owner], voxel] = True

    def _voxels(self, points: Float[np.ndarray, "point 3"]) -> Int[np.ndarray, " point"]:
        """Give the flat index of each point's voxel; the last for those outside of the image."""
        shape = self.truth.masks.shape[1:]
        to_vox = np.linalg.inv(self.truth.affine)
        index = np.rint(points @ to_vox[:3, :3].T + to_vox[:3, 3]).astype(int)
        inside = np.all((index >= 0) & (index < shape), axis=1)
        flat = np.ravel_multi_index(tuple(np.where(inside, index.T, 0)), shape)
        return np.where(inside, flat, np.prod(shape))


def score_streamlines(batches: Iterable[Streamlines], truth: BundleTruth) -> Tractometer:
    """Score streamlines in one pass.

    Parameters
    ----------
    batches
        Points in RAS world mm.
    truth
        Bundles and end regions.
    """
    tractometer = Tractometer(truth)
    for batch in batches:
        tractometer.add(batch)
    return tractometer


def _flatten(masks: Bool[np.ndarray, "n x y z"]) -> Bool[np.ndarray, "n voxel"]:
    return np.pad(masks.reshape(len(masks), -1), ((0, 0), (0, 1)))
