"""The voxels in and about the brain, where each volume shows them, and how brightly."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import binary_dilation, map_coordinates

from .shading import Shading
from .transforms import PhaseEncoding, VolumeTransforms, voxel_matrix

_MARGIN = 2  # voxels about the brain, so that gradients are known in all of it


@dataclass(frozen=True, eq=False)
class Domain:
    """Voxels of the corrected grid in which a head is followed.

    ``voxels`` are the brain's and those around it; ``brain`` tells which are the brain's.
    ``field_hz`` is the off-resonance field on the whole grid, if it is known. ``shading`` is what
    the coils multiply the signal by.
    """

    affine: Float[np.ndarray, "4 4"]
    shape: tuple[int, int, int]
    voxels: Int[np.ndarray, "voxel 3"]
    brain: Bool[np.ndarray, " voxel"]
    encodings: Sequence[PhaseEncoding]
    field_hz: Float[np.ndarray, "x y z"] | None
    shading: Shading

    @classmethod
    def about(
        cls,
        mask: Bool[np.ndarray, "x y z"],
        affine: Float[np.ndarray, "4 4"],
        encodings: Sequence[PhaseEncoding],
        field_hz: Float[np.ndarray, "x y z"] | None = None,
    ) -> "Domain":
        """Take a mask and the voxels around it; nothing is known of the shading."""
        wide = binary_dilation(mask, iterations=_MARGIN)
        shape = (mask.shape[0], mask.shape[1], mask.shape[2])
        unshaded = Shading(1.0)
        domain = cls(affine, shape, np.argwhere(wide), mask[wide], encodings, field_hz, unshaded)
        farthest_mm = np.linalg.norm(domain.centred_mm(), axis=1).max()
        return replace(domain, shading=Shading(float(farthest_mm)))

    def only(self, chosen: Bool[np.ndarray, " voxel"] | slice) -> "Domain":
        """Keep some of the voxels."""
        return replace(self, voxels=self.voxels[chosen], brain=self.brain[chosen])

    def centred_mm(self) -> Float[np.ndarray, "voxel 3"]:
        """Give the voxels' places about the centre of the grid, RAS mm."""
        return (self.voxels - (np.array(self.shape) - 1) / 2) @ self.affine[:3, :3].T

    def shift_vox(self, volume: int) -> Float[np.ndarray, "x y z"] | None:
        """Give the displacement by the field along a volume's phase axis."""
        if self.field_hz is None:
            return None
        encoding = self.encodings[volume]
        return encoding.sign * encoding.readout_s * self.field_hz

    def locate(self, transforms: VolumeTransforms, volume: int) -> Float[np.ndarray, "3 voxel"]:
        """Find the voxels in a volume, in its voxel coordinates."""
        axis, shift = self.encodings[volume].axis, self.shift_vox(volume)
        matrix = voxel_matrix(transforms, volume, self.affine, self.shape, axis)
        at = matrix[:3, :3] @ self.voxels.T + matrix[:3, 3:]
        if shift is not None:
            at[axis] += self.pick(shift)
        return at

    def in_scanner_mm(
        self, transforms: VolumeTransforms, volume: int
    ) -> Float[np.ndarray, "voxel 3"]:
        """Tell where the head has brought the voxels: about the centre of the grid, RAS mm."""
        turned = self.centred_mm() @ transforms.rotations()[volume].T
        return turned + transforms.translation_mm[volume]

    def brightness(self, transforms: VolumeTransforms, volume: int) -> Float[np.ndarray, " voxel"]:
        """Tell what a volume multiplies each voxel's signal by.

        The coils shade it, and stretched along the phase axis it is thinner.
        """
        axis, shift = self.encodings[volume].axis, self.shift_vox(volume)
        stretch = np.full(len(self.voxels), 1.0 + transforms.eddy[volume, axis])
        if shift is not None:
            stretch += self.pick(np.gradient(shift, axis=axis))
        shading = self.shading.at(self.in_scanner_mm(transforms, volume))
        return (shading / stretch.clip(0.1)).astype(np.float32)

    def pick(self, image: np.ndarray) -> np.ndarray:
        """Take the values of an image on the grid."""
        return image[tuple(self.voxels.T)]

    def embed(self, values: np.ndarray) -> np.ndarray:
        """Put values back on the grid; 0 elsewhere."""
        image = np.zeros(self.shape, values.dtype)
        image[tuple(self.voxels.T)] = values
        return image

    def gradient_ras(self, values: Float[np.ndarray, " voxel"]) -> Float[np.ndarray, "voxel 3"]:
        """Differentiate values along the world's axes, per mm; wrong at the rim of the domain."""
        low = np.maximum(self.voxels.min(axis=0) - 1, 0)
        box = tuple(slice(a, b + 2) for a, b in zip(low, self.voxels.max(axis=0), strict=True))
        per_voxel = np.gradient(self.embed(values)[box])
        inside = tuple((self.voxels - low).T)
        slopes = np.stack([slope[inside] for slope in per_voxel], axis=1)
        return slopes @ np.linalg.inv(self.affine[:3, :3]).astype(values.dtype)


def interpolate(
    image: Float[np.ndarray, "x y z"], at: Float[np.ndarray, "3 voxel"], order: int
) -> Float[np.ndarray, " voxel"]:
    """Read an image (spline coefficients above order 1) between its voxels; 0 outside."""
    return map_coordinates(image, at, order=order, prefilter=False, output=np.float32)


def lies_inside(
    at: Float[np.ndarray, "3 voxel"], shape: tuple[int, ...]
) -> Bool[np.ndarray, " voxel"]:
    """Tell which points lie between the first and last voxels of a volume."""
    last = np.array(shape)[:, None] - 1
    return np.asarray(((at >= 0) & (at <= last)).all(axis=0))
