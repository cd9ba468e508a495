"""A three-dimensional image and where it lies, for us and for ITK.

Ours are arrays (x, y, z) with an affine to RAS+ mm. ITK's are arrays (z, y, x) with an origin,
spacing and direction to LPS+ mm. Both turn into each other here and nowhere else.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from jaxtyping import Float, Shaped
from nibabel.affines import voxel_sizes

#: From RAS+ to LPS+ mm and back.
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxels in the world.

    Parameters
    ----------
    shape
        Number of voxels along each axis.
    affine
        Voxel to RAS+ mm.
    """

    shape: tuple[int, int, int]
    affine: Float[np.ndarray, "4 4"]

    @property
    def voxel_mm(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel."""
        x_mm, y_mm, z_mm = (float(edge) for edge in voxel_sizes(self.affine))
        return x_mm, y_mm, z_mm

    @property
    def centre_ras(self) -> Float[np.ndarray, "3"]:
        """Middle of the field of view, mm."""
        return self.affine[:3, :3] @ ((np.array(self.shape) - 1) / 2) + self.affine[:3, 3]

    def with_voxels(self, edge_mm: float) -> "Grid":
        """Divide the same field of view into cubes.

        Examples
        --------
        >>> Grid((10, 10, 4), np.diag([1.0, 1.0, 5.0, 1.0])).with_voxels(2.0).shape
        (5, 5, 10)
        """
        edges = np.array(self.voxel_mm)
        x, y, z = (max(1, round(size)) for size in np.array(self.shape) * edges / edge_mm)
        affine = self.affine.copy()
        affine[:3, :3] *= edge_mm / edges
        affine[:3, 3] = self.centre_ras - affine[:3, :3] @ ((np.array([x, y, z]) - 1) / 2)
        return Grid((x, y, z), affine)


@dataclass(frozen=True, eq=False)
class Volume:
    """An image: an array and its voxel-to-RAS affine, mm."""

    data: Shaped[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]

    @property
    def grid(self) -> Grid:
        """Where its voxels lie."""
        x, y, z = self.data.shape
        return Grid((x, y, z), self.affine)


def to_itk(volume: Volume) -> sitk.Image:
    """Hand an image to ITK; truth values become bytes."""
    data = volume.data.astype(np.uint8) if volume.data.dtype == bool else volume.data
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.T))
    return place_itk(image, volume.affine)


def place_itk(image: sitk.Image, affine: Float[np.ndarray, "4 4"]) -> sitk.Image:
    """Give an image of ITK the place of one of ours."""
    edges = voxel_sizes(affine)
    lps = FLIP @ affine
    image.SetSpacing(edges.tolist())
    image.SetDirection((lps[:3, :3] / edges).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def from_itk(image: sitk.Image) -> Volume:
    """Take an image back from ITK."""
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    return Volume(np.ascontiguousarray(sitk.GetArrayFromImage(image).T), FLIP @ lps)


def bound_threads(n_threads: int) -> None:
    """Let ITK use this many threads, in this process."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(n_threads)
