"""The rules that streamlines keep to."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from shd_bids.errors import TrackingError


@dataclass(frozen=True)
class TrackingRules:
    """How streamlines are followed and which are kept.

    Attributes
    ----------
    step_mm
        Length of a step.
    method
        ``probabilistic`` draws one of the directions of a sphere at each step; ``deterministic``
        follows the nearest peaks, interpolated (EuDX, Garyfallidis 2012); ``ptt`` bends smoothly
        (parallel transport, Aydogan and Shi 2021, IEEE TMI 40:635); ``pft`` goes back and tries
        again where a streamline would end badly (particle filtering, Girard et al. 2014,
        NeuroImage 98:266).
    max_angle_deg
        Largest turn at one step, 0 to 90.
    min_length_mm, max_length_mm
        Shorter and longer streamlines are dropped.
    valid_ends
        As `good_ends` takes them. Where grey matter is not known, every end is kept.
    relative_threshold
        Directions with less than this fraction of the largest amplitude are not taken.
    random_seed
        The same number gives the same streamlines, whatever the number of threads; those of a
        smaller number of streamlines come first.

    Raises
    ------
    TrackingError
        When a setting is impossible.
    """

    step_mm: float
    method: str = "probabilistic"
    max_angle_deg: float = 20.0
    min_length_mm: float = 20.0
    max_length_mm: float = 250.0
    valid_ends: str = "grey-matter"
    relative_threshold: float = 0.2
    random_seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.max_angle_deg <= 90:
            raise TrackingError(
                f"The largest turn at one step is {self.max_angle_deg:g} degrees; expected more "
                "than 0 and at most 90 (--max-angle-deg)."
            )
        if self.step_mm <= 0 or self.step_mm > self.max_length_mm:
            raise TrackingError(
                f"The step is {self.step_mm:g} mm; expected more than 0 and less than the longest "
                f"streamline, {self.max_length_mm:g} mm (--step-mm)."
            )
        if not 0 <= self.min_length_mm < self.max_length_mm:
            raise TrackingError(
                f"Streamlines of {self.min_length_mm:g} to {self.max_length_mm:g} mm are asked "
                "for; the first must be smaller than the second and not negative (--min-length-mm, "
                "--max-length-mm)."
            )


def default_step_mm(affine: Float[np.ndarray, "4 4"]) -> float:
    """Give half the smallest voxel side."""
    smallest = float(np.linalg.norm(affine[:3, :3], axis=0).min())
    return round(smallest, 4) / 2  # affines are stored in single precision
