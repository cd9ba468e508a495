"""Starting points of streamlines."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from nibabel.affines import apply_affine
from scipy.ndimage import binary_dilation

from shd_bids.errors import TrackingError

from .stopping import Anatomy

_SEED_THRESHOLD = 0.5


@dataclass(frozen=True)
class SeedRegion:
    """Voxels in which streamlines start.

    Attributes
    ----------
    voxels
        At least one is marked.
    affine
        Voxel indices to RAS world mm; the grid need not be that of the fODFs.
    """

    voxels: Bool[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]

    def draw(self, n_seed: int, generator: np.random.Generator) -> Float[np.ndarray, "seed 3"]:
        """Draw points uniformly from the volume of the voxels.

        Parameters
        ----------
        n_seed
            Number of points.
        generator
            Source of chance; the same state gives the same points.

        Returns
        -------
        seeds
            RAS world mm, float64.

        Examples
        --------
        >>> import numpy as np
        >>> voxels = np.zeros((3, 3, 3), dtype=bool)
        >>> voxels[1, 2, 0] = True
        >>> seeds = SeedRegion(voxels, np.eye(4)).draw(100, np.random.default_rng(0))
        >>> np.rint(seeds).min(axis=0), np.rint(seeds).max(axis=0)
        (array([1., 2., 0.]), array([1., 2., 0.]))
        """
        flat = np.flatnonzero(self.voxels)
        return self._within(flat[generator.integers(len(flat), size=n_seed)], generator)

    def spread(
        self, per_voxel: int, n_batch: int, generator: np.random.Generator
    ) -> Iterator[Float[np.ndarray, "_ 3"]]:
        """Place the same number of points in each voxel, at random within it.

        Parameters
        ----------
        per_voxel
            Points in each voxel.
        n_batch
            Points at a time; the last batch may have fewer.
        generator
            Source of chance.

        Returns
        -------
        batches
            RAS world mm, float64.
        """
        flat = np.repeat(np.flatnonzero(self.voxels), per_voxel)
        for start in range(0, len(flat), n_batch):
            yield self._within(flat[start : start + n_batch], generator)

    def _within(
        self, flat: Int[np.ndarray, " seed"], generator: np.random.Generator
    ) -> Float[np.ndarray, "seed 3"]:
        index = np.stack(np.unravel_index(flat, self.voxels.shape), axis=1)
        points = index + generator.uniform(-0.5, 0.5, size=index.shape)
        return apply_affine(self.affine, points)


def white_matter_seeds(anatomy: Anatomy, affine: Float[np.ndarray, "4 4"]) -> SeedRegion:
    """Take the voxels that are mostly white matter.

    Raises
    ------
    TrackingError
        When there is none.
    """
    voxels = anatomy.white_matter > _SEED_THRESHOLD
    if not voxels.any():
        raise TrackingError(
            f"No voxel of the mask has a white matter fraction above {_SEED_THRESHOLD:g} and an "
            f"fODF to follow; the largest fraction is {anatomy.white_matter.max():.2f}. Check the "
            "mask and the response functions."
        )
    return SeedRegion(voxels, affine)


def interface_seeds(anatomy: Anatomy, affine: Float[np.ndarray, "4 4"]) -> SeedRegion:
    """Take the voxels of white matter that touch grey matter with a face.

    Raises
    ------
    TrackingError
        When grey matter is not known, or touches white matter nowhere.
    """
    grey_matter = anatomy.need_grey_matter("--seed-from interface", "--seed-from white-matter")
    voxels = (anatomy.white_matter > 0.5) & binary_dilation(grey_matter > 0.5)
    if not voxels.any():
        raise TrackingError(
            "--seed-from interface: no voxel of white matter touches grey matter. Check the mask "
            "and the tissues, or use --seed-from white-matter."
        )
    return SeedRegion(voxels, affine)


def image_seeds(
    values: Float[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"], *, name: str
) -> SeedRegion:
    """Take the voxels of an image above 0.5.

    Parameters
    ----------
    values
        Mask or probability, on any grid.
    affine
        Its voxel indices to RAS world mm.
    name
        What it is called, for the message.

    Raises
    ------
    TrackingError
        When there is none.
    """
    voxels = values > _SEED_THRESHOLD
    if not voxels.any():
        raise TrackingError(
            f"--seed-from {name}: no voxel is above {_SEED_THRESHOLD:g} (largest value "
            f"{np.nanmax(values, initial=0.0):g}); expected a mask in the space of the series."
        )
    return SeedRegion(voxels, affine)
