"""Starting points of streamlines, spread evenly through the white matter."""

import numpy as np
from jaxtyping import Bool, Float

from shd_bids.errors import TrackingError


def seed_voxels(
    white_matter: Float[np.ndarray, "x y z"],
    mask: Bool[np.ndarray, "x y z"],
    *,
    threshold: float = 0.5,
) -> Bool[np.ndarray, "x y z"]:
    """Return the voxels in which streamlines may start.

    Parameters
    ----------
    white_matter
        White matter fraction, 0 to 1.
    mask
        Brain mask.
    threshold
        A voxel with more white matter than this is taken.

    Returns
    -------
    voxels
        At least one voxel.

    Raises
    ------
    TrackingError
        When there is none.
    """
    voxels = mask & (white_matter > threshold)
    if not voxels.any():
        largest = float(np.max(white_matter, initial=0.0, where=mask))
        raise TrackingError(
            f"No voxel of the mask has a white matter fraction above {threshold:g}; the largest is "
            f"{largest:.2f}. Check the mask and the response functions, or lower the threshold."
        )
    return voxels


def draw_seeds(
    voxels: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    n_seed: int,
    generator: np.random.Generator,
) -> Float[np.ndarray, "seed 3"]:
    """Draw points uniformly from the volume of the voxels.

    Parameters
    ----------
    voxels
        Where points may lie, at least one voxel.
    affine
        Voxel indices to RAS world mm.
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
    >>> seeds = draw_seeds(voxels, np.eye(4), 100, np.random.default_rng(0))
    >>> np.rint(seeds).min(axis=0), np.rint(seeds).max(axis=0)
    (array([1., 2., 0.]), array([1., 2., 0.]))
    """
    flat = np.flatnonzero(voxels)
    chosen = flat[generator.integers(len(flat), size=n_seed)]
    index = np.stack(np.unravel_index(chosen, voxels.shape), axis=1)
    points = index + generator.uniform(-0.5, 0.5, size=(n_seed, 3))
    return points @ affine[:3, :3].T + affine[:3, 3]
