"""Images of several phase encodings, read where they show given points of the corrected head.

Points of the corrected grid, the displacement u and the slopes are all in voxels; image k is
displaced by ``w_k u`` along its phase axis. Where that is, `transforms` says.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter

from .transforms import VolumeTransforms, voxel_matrix

_HALF = 0.5  # voxels to either side of a point, for the slope of an image


@dataclass(frozen=True)
class Lattice:
    """Every so many voxels of the corrected grid, about its centre."""

    shape: tuple[int, int, int]
    stride: tuple[int, int, int]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Points along each axis."""
        i, j, k = (
            (length - 1) // step + 1 for length, step in zip(self.shape, self.stride, strict=True)
        )
        return i, j, k

    def along(self, axis: int) -> Float[np.ndarray, " step"]:
        """Give the voxel coordinates of the points along an axis."""
        steps = self.stride[axis] * np.arange(self.counts[axis])
        return (self.shape[axis] - 1 - steps[-1]) / 2 + steps

    def nearest(self, volume: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "i j k"]:
        """Take the voxels nearest to the points."""
        return volume[np.ix_(*[np.rint(self.along(axis)).astype(int) for axis in range(3)])]

    def points(self, chosen: Bool[np.ndarray, "i j k"]) -> Float[np.ndarray, "3 point"]:
        """Give the voxel coordinates of the chosen points."""
        return np.stack([self.along(axis)[at] for axis, at in enumerate(np.nonzero(chosen))])

    def adopt(
        self, values: Float[np.ndarray, "a b c"], source: "Lattice"
    ) -> Float[np.ndarray, "i j k"]:
        """Blend what another lattice holds, by cubic B-splines that never overshoot."""
        along = [
            (self.along(axis) - source.along(axis)[0]) / source.stride[axis] for axis in range(3)
        ]
        at = np.stack(np.meshgrid(*along, indexing="ij"))
        return map_coordinates(values, at, np.float32, order=3, mode="nearest", prefilter=False)


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """Images as spline coefficients, with how each was encoded.

    ``weights`` says how many voxels each image is displaced along its phase axis per voxel of u.
    """

    coefficients: Float[np.ndarray, "image x y z"]
    axes: tuple[int, ...]
    weights: tuple[float, ...]
    affine: Float[np.ndarray, "4 4"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of each image."""
        i, j, k = self.coefficients.shape[1:]
        return i, j, k

    @classmethod
    def smooth(
        cls,
        images: Float[np.ndarray, "image x y z"],
        axes: tuple[int, ...],
        weights: tuple[float, ...],
        affine: Float[np.ndarray, "4 4"],
        sigma_vox: Float[np.ndarray, "3"],
    ) -> "EncodedImages":
        """Smooth images by a Gaussian and fit splines to them."""
        splines = [
            spline_filter(gaussian_filter(image, sigma_vox), 3, output=np.float32)
            for image in images
        ]
        return cls(np.stack(splines), axes, weights, affine)

    def locate(
        self,
        image: int,
        transforms: VolumeTransforms,
        points: Float[np.ndarray, "3 point"],
        displacement: Float[np.ndarray, " point"],
    ) -> Float[np.ndarray, "3 point"]:
        """Give the voxel coordinates in an image where it shows the points."""
        matrix = voxel_matrix(transforms, image, self.affine, self.shape, self.axes[image])
        at = matrix[:3, :3] @ points + matrix[:3, 3:]
        at[self.axes[image]] += self.weights[image] * displacement
        return at

    def read(self, image: int, at: Float[np.ndarray, "3 point"]) -> Float[np.ndarray, " point"]:
        """Interpolate an image; beyond its edge it stays as at the edge."""
        return map_coordinates(
            self.coefficients[image], at, np.float32, order=3, mode="nearest", prefilter=False
        )

    def slope(
        self, image: int, at: Float[np.ndarray, "3 point"], axis: int
    ) -> Float[np.ndarray, " point"]:
        """Give the derivative of an image along an axis."""
        step = _HALF * np.eye(3)[axis][:, None]
        return (self.read(image, at + step) - self.read(image, at - step)) / np.float32(2 * _HALF)

    def motion_slopes(
        self,
        image: int,
        transforms: VolumeTransforms,
        points: Float[np.ndarray, "3 point"],
        displacement: Float[np.ndarray, " point"],
    ) -> Float[np.ndarray, "6 point"]:
        """Give the derivatives by a further translation (mm) and rotation (rad) of the head.

        Along and about the RAS axes; the rotation is about the head's own centre.
        """
        at = self.locate(image, transforms, points, displacement)
        slopes = np.stack([self.slope(image, at, axis) for axis in range(3)])
        by_mm = np.linalg.solve(self.affine[:3, :3].T, slopes)
        at[self.axes[image]] -= self.weights[image] * displacement
        centre = (np.array(self.shape) - 1)[:, None] / 2
        arm = self.affine[:3, :3] @ (at - centre) - transforms.translation_mm[image][:, None]
        return np.concatenate([by_mm, np.cross(arm, by_mm, axis=0)]).astype(np.float32)
