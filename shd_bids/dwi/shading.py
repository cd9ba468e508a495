"""The shading of the receive coils, as far as a head that moves under it shows it.

It stays where it is when the head turns, and would hold the head back. Its logarithm is taken for
a polynomial over the scanner's axes. What it does to a head at rest cannot be told from the head:
only its change from volume to volume is learnt (`joint_registration`), so that this is not the
bias field that `bias` estimates from one image.
"""

from dataclasses import dataclass, field, replace
from itertools import combinations_with_replacement

import numpy as np
from jaxtyping import Float

_DEGREE = 3
_TERMS = tuple(
    axes
    for degree in range(1, _DEGREE + 1)
    for axes in combinations_with_replacement(range(3), degree)
)
N_TERM = len(_TERMS)  # no constant: the volumes' level is not shading
PRIOR = 0.3  # standard deviation of a coefficient


@dataclass(frozen=True, eq=False)
class Shading:
    """What the coils multiply the signal by, in the scanner.

    Parameters
    ----------
    radius_mm
        Of the sphere about the grid's centre in which the polynomial's variables stay within 1.
    coefficients
        Of the logarithm.
    """

    radius_mm: float
    coefficients: Float[np.ndarray, " term"] = field(default_factory=lambda: np.zeros(N_TERM))

    def terms(self, places_mm: Float[np.ndarray, "voxel 3"]) -> Float[np.ndarray, "term voxel"]:
        """Give the polynomial's terms at places about the grid's centre, world axes."""
        along = (places_mm.T / self.radius_mm).astype(np.float32)
        values = np.empty((N_TERM, len(places_mm)), np.float32)
        known: dict[tuple[int, ...], np.ndarray] = {}
        for row, axes in zip(values, _TERMS, strict=True):
            row[:] = along[axes[-1]] * known[axes[:-1]] if len(axes) > 1 else along[axes[0]]
            known[axes] = row
        return values

    def at(self, places_mm: Float[np.ndarray, "voxel 3"]) -> Float[np.ndarray, " voxel"]:
        """Give the shading at places about the grid's centre, world axes.

        Examples
        --------
        >>> Shading(100.0).at(np.array([[10.0, 20.0, 30.0]]))
        array([1.], dtype=float32)
        """
        return np.exp(self.coefficients.astype(np.float32) @ self.terms(places_mm))

    def changed(self, step: Float[np.ndarray, " term"]) -> "Shading":
        """Add to the coefficients."""
        return replace(self, coefficients=self.coefficients + step)
