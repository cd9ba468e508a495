"""What is known of a head before it is looked at: it seldom jumps.

From one volume to the next it moves by little, which also ties the diffusion-weighted volumes to
the b=0 volumes between them. How little differs from head to head: the scale of the movements is
learnt from the scan, in the manner of expectation maximisation, so that a head which keeps still is
not given the movements that noise would like, and one which jumps is still followed.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from .transforms import VolumeTransforms
from .volume_registration import N_RIGID

# Images of a small, round head say so little of its rotation that a smaller scale would never be
# left again: every rotation would be taken for noise.
_LEAST, _MOST = (0.02, 0.5), (1.0, 1.0)  # mm and degrees


@dataclass(frozen=True)
class Steadiness:
    """Scale of the movements between two volumes, which follow a Cauchy distribution.

    A head has few large movements and many small ones; a Gaussian distribution would smear the
    large ones over the volumes about them.
    """

    translation_mm: float = 0.3
    rotation_deg: float = 0.5

    def scales(self) -> Float[np.ndarray, " rigid"]:
        """Give the scale of each of the six parameters, mm and radians."""
        return np.repeat([self.translation_mm, np.deg2rad(self.rotation_deg)], 3)


def expect_steady(
    transforms: VolumeTransforms, steadiness: Steadiness, *, may_jump: bool
) -> tuple[Float[np.ndarray, "row row"], Float[np.ndarray, " row"]]:
    """Give curvature and slope of the expectation that the head stays where it was.

    Parameters
    ----------
    transforms
        Of all volumes.
    steadiness
        How far the head moves between volumes.
    may_jump
        Whether large movements are believed; otherwise they are held back as small ones are.

    Returns
    -------
    curvature, slope
        By the six parameters of each volume.
    """
    scales = steadiness.scales()
    moves = _moves(transforms) / scales
    weight = _weight(moves) if may_jump else np.ones(len(moves))
    difference = np.diff(np.eye(transforms.n_volume), axis=0)
    curvature = np.kron(difference.T * weight @ difference, np.diag(1 / scales**2))
    return curvature, ((difference.T * weight) @ (moves / scales)).ravel()


def surprise(transforms: VolumeTransforms, steadiness: Steadiness) -> float:
    """Give the negative logarithm of how probable the movements are, but for a constant."""
    moves = _moves(transforms) / steadiness.scales()
    return float((1 + N_RIGID) / 2 * np.log1p((moves**2).sum(axis=1)).sum())


def learn_steadiness(
    transforms: VolumeTransforms, steadiness: Steadiness, covariance: Float[np.ndarray, "row row"]
) -> Steadiness:
    """Learn the scale from the movements that were found and from how well they are known.

    Parameters
    ----------
    transforms
        Of all volumes.
    steadiness
        That was expected.
    covariance
        Of the six parameters of each volume, as far as the images and the expectation tell.

    Returns
    -------
    Steadiness
        That is expected next.
    """
    moves = _moves(transforms)
    per_volume = covariance.reshape(transforms.n_volume, N_RIGID, transforms.n_volume, N_RIGID)
    same = np.einsum("vkvk->vk", per_volume)
    following = np.einsum("vkvk->vk", per_volume[1:, :, :-1])
    unsure = same[1:] + same[:-1] - 2 * following
    weight = _weight(moves / steadiness.scales())
    square = (weight[:, None] * (moves**2 + unsure)).mean(axis=0).reshape(2, 3).mean(axis=1)
    scales = np.sqrt(square) / [1.0, np.deg2rad(1.0)]
    return Steadiness(*scales.clip(_LEAST, _MOST).tolist())


def _weight(moves: Float[np.ndarray, "move rigid"]) -> Float[np.ndarray, " move"]:
    """Give what makes a Gaussian a Cauchy distribution: large movements weigh little."""
    return (1 + N_RIGID) / (1 + (moves**2).sum(axis=1))


def _moves(transforms: VolumeTransforms) -> Float[np.ndarray, "move rigid"]:
    """Give how the head moved from each volume to the next: mm, rotation vector."""
    turned = Rotation.from_euler("xyz", transforms.rotation_rad)
    turns = (turned[1:] * turned[:-1].inv()).as_rotvec()
    return np.hstack([np.diff(transforms.translation_mm, axis=0), turns])
