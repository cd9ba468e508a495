"""Values of an image at places in the world."""

import numpy as np
from jaxtyping import Float
from nibabel.affines import apply_affine
from scipy.ndimage import map_coordinates


def sample_image(
    image: Float[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    points: Float[np.ndarray, "point 3"],
) -> Float[np.ndarray, " point"]:
    """Interpolate an image linearly; beyond its border the nearest voxel counts.

    Parameters
    ----------
    image
        One number per voxel.
    affine
        Its voxel indices to RAS world mm.
    points
        RAS world mm.

    Returns
    -------
    values
        In the unit and precision of the image.

    Examples
    --------
    >>> image = np.arange(8.0).reshape(2, 2, 2)
    >>> sample_image(image, np.eye(4), np.array([[0.5, 0.0, 0.0], [9.0, 9.0, 9.0]]))
    array([2., 7.])
    """
    voxels = apply_affine(np.linalg.inv(affine), points)
    return map_coordinates(image, voxels.T, order=1, mode="nearest", output=image.dtype)
