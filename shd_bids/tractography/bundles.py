"""Bundles of known anatomy in a tractogram, recognised by their shape through DIPY.

The tractogram is registered to the model of the whole brain by its own streamlines, then the
streamlines close to each model bundle are found [Garyfallidis et al., NeuroImage 170, 2018].
DIPY brings every streamline to 20 points before it compares it; here they come with no more, so
that memory is that of the drawn streamlines at 20 points each. The registration is that of DIPY's
`whole_brain_slr`, which would take all processors whatever it is told, and move a copy of all.
"""

import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from dipy.align.streamlinear import DEFAULT_BOUNDS, BundleMinDistanceMetric, progressive_slr
from dipy.segment.bundles import RecoBundles
from dipy.segment.clustering import qbx_and_merge
from dipy.tracking import Streamlines as DipyStreamlines
from dipy.tracking.distances import bundles_distances_mdf
from jaxtyping import Float, Int
from nibabel.affines import apply_affine

from shd_bids.errors import TrackingError

from .draw import EvenLines

LOGGER = logging.getLogger(__name__)

N_NODE = 20
_LONG_MM, _LOOPING_MM = 50.0, 250.0
_CLUSTERING_MM = (40, 30, 20, 15)
_FEW_LINES_PER_CLUSTER = 50
_NOBODY = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class RecognitionSettings:
    """How alike a streamline and a model must be.

    Attributes
    ----------
    n_most
        At most so many streamlines of the tractogram are drawn.
    min_length_mm
        Shorter streamlines belong to no bundle.
    cluster_mm
        Streamlines closer than this make one cluster of the tractogram.
    model_cluster_mm
        The same in a model bundle.
    reduction_mm
        Clusters farther than this from a model are not looked at.
    pruning_mm
        Streamlines farther than this from the model, after a registration of their own, go.
    """

    n_most: int = 500_000
    min_length_mm: float = 20.0
    cluster_mm: float = 15.0
    model_cluster_mm: float = 2.5
    reduction_mm: float = 15.0
    pruning_mm: float = 8.0


@dataclass(frozen=True)
class Recognition:
    """The bundles of a tractogram.

    Attributes
    ----------
    members
        By label of the bundle, which of the streamlines belong to it, rising; perhaps none. A
        streamline may belong to several.
    to_model
        From the space of the tractogram to that of the model.
    distance_mm
        From a cluster of the whole-brain model to the nearest of the registered tractogram, mean;
        None where there was nothing to register.
    """

    members: dict[str, Int[np.ndarray, " member"]]
    to_model: Float[np.ndarray, "4 4"]
    distance_mm: float | None


def recognise_bundles(
    lines: EvenLines,
    models: Mapping[str, EvenLines],
    whole_brain: EvenLines | None = None,
    *,
    settings: RecognitionSettings | None = None,
    random_seed: int = 0,
) -> Recognition:
    """Find the streamlines that are shaped and placed like those of each model.

    Parameters
    ----------
    lines
        Of the tractogram, RAS mm.
    models
        Bundles in the common space by label, RAS mm.
    whole_brain
        The tractogram is registered to this; without it, rigidly, to all bundles together: the
        shape of a few bundles does not tell the size of a brain.
    settings
        How alike they must be.
    random_seed
        Each bundle has a seed of its own, so that it does not depend on what else is looked for.

    Returns
    -------
    recognition
        In the order of ``models``.

    Raises
    ------
    TrackingError
        If no streamline is long enough to register.
    """
    settings = settings or RecognitionSettings()
    if not len(lines):
        LOGGER.warning(
            "No streamline of the tractogram is %g mm or longer, so no bundle can be recognised. "
            "Track more or longer streamlines (--n-streamlines), or leave out --model-bundles.",
            settings.min_length_mm,
        )
        return Recognition(dict.fromkeys(models, _NOBODY), np.eye(4), None)
    if whole_brain is None:
        target, kind = np.concatenate(list(models.values())), "rigid"
    else:
        target, kind = whole_brain, "affine"
    to_model, distance_mm = _register(lines, target, kind, random_seed)
    moved = _dipy(apply_affine(to_model, lines))
    recogniser = RecoBundles(
        moved, greater_than=0, clust_thr=settings.cluster_mm, rng=np.random.default_rng(random_seed)
    )
    members = {}
    for label, model in models.items():
        recogniser.rng = np.random.default_rng([random_seed, zlib.crc32(label.encode())])
        _, found = recogniser.recognize(
            _dipy(model),
            settings.model_cluster_mm,
            reduction_thr=settings.reduction_mm,
            pruning_thr=settings.pruning_mm,
            num_threads=1,
        )
        members[label] = np.unique(np.asarray(found, dtype=np.int64))
        LOGGER.info("%s: %d streamlines.", label, len(members[label]))
    return Recognition(members, to_model, distance_mm)


def _register(
    lines: EvenLines, target: EvenLines, kind: str, random_seed: int
) -> tuple[Float[np.ndarray, "4 4"], float]:
    """Return the matrix to the model and how far the model's clusters then are, mm."""
    # Long streamlines give the shape of a brain; a model of short bundles has only those.
    long_mm = min(_LONG_MM, float(np.median(_lengths(target))) / 2)
    fixed, moving = (_long_clusters(some, long_mm, random_seed) for some in (target, lines))
    if not (fixed and moving):
        raise TrackingError(
            f"No streamline between {long_mm:.0f} and {_LOOPING_MM:.0f} mm is left to register "
            "the tractogram to the models of --model-bundles. Check that both are in mm, and "
            "track more streamlines (--n-streamlines)."
        )
    found = progressive_slr(
        fixed, moving, BundleMinDistanceMetric(num_threads=1), kind, DEFAULT_BOUNDS
    )
    moved = [apply_affine(found.matrix, cluster).astype(np.float32) for cluster in moving]
    distances = bundles_distances_mdf(fixed, moved)
    return found.matrix, float(distances.min(axis=1).mean())


def _long_clusters(
    lines: EvenLines, shortest_mm: float, random_seed: int
) -> list[Float[np.ndarray, "node 3"]]:
    """Return the middle lines of the clusters of long streamlines, but of stray ones."""
    lengths = _lengths(lines)
    long = lines[(lengths > shortest_mm) & (lengths < _LOOPING_MM)]
    if not len(long):
        return []
    clusters = qbx_and_merge(
        _dipy(long), _CLUSTERING_MM, nb_pts=N_NODE, rng=np.random.default_rng(random_seed)
    )
    n_fewest = max(1, min(_FEW_LINES_PER_CLUSTER, len(long) // 1000))
    return [cluster.centroid for cluster in clusters if len(cluster) >= n_fewest]


def turn_and_scale(
    to_model: Float[np.ndarray, "4 4"],
) -> tuple[float, Float[np.ndarray, "3"]]:
    """Say by how much a matrix turns (degrees) and stretches: both tell a registration that failed.

    Examples
    --------
    >>> turn_and_scale(np.diag([2.0, 2.0, 2.0, 1.0]))
    (0.0, array([2., 2., 2.]))
    """
    left, scales, right = np.linalg.svd(to_model[:3, :3])
    cosine = (np.trace(left @ right) - 1.0) / 2.0
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))), scales


def _lengths(lines: EvenLines) -> Float[np.ndarray, " streamline"]:
    return np.linalg.norm(np.diff(lines, axis=1), axis=2).sum(axis=1)


def _dipy(lines: EvenLines) -> DipyStreamlines:
    return DipyStreamlines(list(lines.astype(np.float32)))
