"""A phantom for tractography: bundles of which it is known where they run and what they join.

White matter is where a bundle runs and nowhere else; what lies between is grey matter, so that a
streamline that leaves its bundle ends in no end region.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from .geometry import BENT_BUNDLES, TISSUES, Anatomy, Bundle, sample_bundle, sample_tissue, trace
from .scan import Phantom, make_affine, scan_truth
from .scheme import MULTI_SHELL
from .truth import Truth, sample_truth, subvoxel_points

_END_SHARE = 0.3  # of a bundle's length, at either side
_LEAST_TUBE = 0.5  # of a voxel, to belong to a bundle

# those whose two ends lie in the grey rim; the fan starts in the deep white matter
TRACTS = tuple(bundle for bundle in BENT_BUNDLES if bundle.name != "fan")


@dataclass(frozen=True)
class BundleTruth:
    """Where each bundle runs and ends.

    Attributes
    ----------
    names
        Of the bundles.
    masks
        Voxels that a bundle runs through.
    ends
        Voxels of its two end regions.
    affine
        Voxel indices to RAS world mm.
    """

    names: tuple[str, ...]
    masks: Bool[np.ndarray, "bundle x y z"]
    ends: Bool[np.ndarray, "bundle 2 x y z"]
    affine: Float[np.ndarray, "4 4"]


def make_bundle_phantom(
    shape: tuple[int, int, int] = (36, 36, 28),
    voxel_size_mm: float = 2.0,
    *,
    shells: Mapping[int, int] = MULTI_SHELL,
    snr: float = 20.0,
    seed: int = 1,
    affine: Float[np.ndarray, "4 4"] | None = None,
    bundles: Sequence[Bundle] = TRACTS,
) -> tuple[Phantom, BundleTruth]:
    """Scan the phantom brain with nothing but its bundles in the white matter.

    Straight, bending and fanning bundles cross at 30 to 90 degrees, with partial volume at every
    boundary. Each ends in two regions of the grey matter rim.

    Parameters
    ----------
    shape, voxel_size_mm, shells, snr, seed, affine
        As for :func:`.scan.make_phantom`.
    bundles
        With both ends in grey matter.
    """
    affine = make_affine(shape, voxel_size_mm) if affine is None else affine
    truth, intra_fractions = sample_truth(shape, affine, bundles=bundles, sample=_sample_brain)
    phantom = scan_truth(truth, intra_fractions, affine, shells=shells, snr=snr, seed=seed)
    return phantom, _find_bundles(truth, affine, bundles)


def keep_bundles(
    tissue: Float[np.ndarray, "point 3"],
    points_mm: Float[np.ndarray, "point 3"],
    bundles: Sequence[Bundle],
) -> Anatomy:
    """Turn the white matter in which no bundle runs into grey matter.

    Parameters
    ----------
    tissue
        White matter, grey matter and fluid at each point.
    points_mm
        In the frame of the bundles.
    bundles
        Share the white matter by their densities.

    Returns
    -------
    anatomy
        Its association fibres have no share.
    """
    occupancy = np.zeros((len(points_mm), len(bundles) + 1))
    direction = np.zeros((len(points_mm), len(bundles) + 1, 3))
    tube = np.zeros(len(points_mm))
    for index, bundle in enumerate(bundles):
        occupancy[:, index], direction[:, index] = sample_bundle(bundle, points_mm)
        tube = np.maximum(tube, occupancy[:, index] / bundle.density)
    white = tissue[:, 0] * tube
    kept = np.stack([white, tissue[:, 1] + tissue[:, 0] - white, tissue[:, 2]], axis=1)
    share = occupancy / np.maximum(occupancy.sum(axis=1, keepdims=True), 1e-9)
    return Anatomy(kept, share, direction)


def _sample_brain(points_mm: np.ndarray, bundles: Sequence[Bundle]) -> Anatomy:
    return keep_bundles(sample_tissue(points_mm), points_mm, bundles)


def _find_bundles(
    truth: Truth, affine: Float[np.ndarray, "4 4"], bundles: Sequence[Bundle]
) -> BundleTruth:
    """Tell the voxels of each tube apart: white matter, and grey matter at its two ends."""
    shape = truth.mask.shape
    grey = truth.mask & (truth.tissue.argmax(axis=-1) == TISSUES.index("GM"))
    white = truth.tissue[..., TISSUES.index("WM")] >= _LEAST_TUBE
    points = list(subvoxel_points(shape, affine))
    centre = np.mean(points, axis=0)
    masks = np.zeros((len(bundles), *shape), dtype=bool)
    ends = np.zeros((len(bundles), 2, *shape), dtype=bool)
    for index, bundle in enumerate(bundles):
        inside = np.mean([sample_bundle(bundle, p)[0] for p in points], axis=0) / bundle.density
        tube = inside.reshape(shape) >= _LEAST_TUBE
        line = trace(bundle)
        along = line.tree.query(centre)[1].reshape(shape) / (len(line.radius_mm) - 1)
        masks[index] = tube & white
        ends[index] = tube & grey & np.stack([along <= _END_SHARE, along >= 1 - _END_SHARE])
    return BundleTruth(tuple(bundle.name for bundle in bundles), masks, ends, affine)
