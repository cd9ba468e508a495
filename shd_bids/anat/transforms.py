"""Transforms between spaces, in memory and on disk, as ITK and ANTs hold them.

This is the one convention. The transform *from A to B* brings images of A onto grids in B, as the
names of the files say (``from-A_to-B_mode-image_xfm``). To do so it takes a point of B and gives
the point of A that is seen there. Matrices and displacements that we compute are in RAS+ mm; inside
an ITK transform, and thus on disk, they are in LPS+ mm.
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from jaxtyping import Float

from shd_bids.errors import TransformError

from .volume import FLIP, place_itk


def from_matrix(matrix_ras: Float[np.ndarray, "4 4"]) -> sitk.AffineTransform:
    """Make an affine transform of a matrix from points of B to points of A, RAS+ mm."""
    lps = FLIP @ matrix_ras @ FLIP
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    return transform


def to_matrix(transform: sitk.Transform) -> Float[np.ndarray, "4 4"]:
    """Give the matrix of a rigid or affine transform, RAS+ mm."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(transform.TransformPoint(axis)) - origin for axis in np.eye(3).tolist()]
    lps = np.eye(4)
    lps[:3, :3] = np.stack(columns, axis=1)
    lps[:3, 3] = origin
    return FLIP @ lps @ FLIP


def from_field(
    field_mm: Float[np.ndarray, "x y z 3"], affine: Float[np.ndarray, "4 4"]
) -> sitk.DisplacementFieldTransform:
    """Make a transform of the displacement from points of B to points of A.

    Parameters
    ----------
    field_mm
        Along RAS+ axes, on a grid in B; beyond the grid it is 0.
    affine
        Of the grid.

    Returns
    -------
    sitk.DisplacementFieldTransform
        Its vectors along LPS+ axes.
    """
    lps = field_mm.astype(np.float64) * [-1.0, -1.0, 1.0]
    image = sitk.GetImageFromArray(
        np.ascontiguousarray(lps.transpose(2, 1, 0, 3)), isVector=True
    )  # (z, y, x, component)
    return sitk.DisplacementFieldTransform(place_itk(image, affine))


def chain(*transforms: sitk.Transform) -> sitk.CompositeTransform:
    """Join transforms into one, so that an image is interpolated once.

    Parameters
    ----------
    *transforms
        In the order in which a point of the target grid passes them; none is the identity.

    Returns
    -------
    sitk.CompositeTransform
        ITK keeps them the other way round: the last is applied first.
    """
    return sitk.CompositeTransform(list(transforms[::-1]) or [sitk.TranslationTransform(3)])


def write_transform(transform: sitk.Transform, file: Path) -> Path:
    """Write a transform; ``.txt`` for an affine, ``.h5`` for what holds a displacement field."""
    sitk.WriteTransform(transform, str(file))
    return file


def read_transform(file: Path) -> sitk.Transform:
    """Read a transform of ITK, ANTs or our own.

    Raises
    ------
    TransformError
        If it is missing or not one.
    """
    try:
        return sitk.ReadTransform(str(file))
    except RuntimeError as error:
        raise TransformError(
            f"{file} cannot be read as a transform: expected ITK's .txt, .mat or .h5, as ANTs and "
            "QSIPrep write them."
        ) from error
