"""Smooth fields over the phantom's head: off-resonance near its sinuses, shading by the coil.

Points are in mm about the centre of the anatomy as `geometry` writes it down.
"""

import numpy as np
from jaxtyping import Float

# centre, widths and height of each bump of the field: above the sinuses, beside the ear canals
_BUMPS = (
    ((0.0, 20.0, -17.0), (11.0, 10.0, 9.0), 1.0),
    ((21.0, -8.0, -13.0), (9.0, 10.0, 8.0), -0.6),
    ((-21.0, -8.0, -13.0), (9.0, 10.0, 8.0), -0.6),
)
_RADIUS_MM = 31.0


def off_resonance_hz(
    points_mm: Float[np.ndarray, "*shape 3"], peak_hz: float
) -> Float[np.ndarray, "*shape"]:
    """Give the field of the susceptible head at rest, whose largest bump is so high."""
    field = np.zeros(points_mm.shape[:-1])
    for centre_mm, widths_mm, height in _BUMPS:
        distance = ((points_mm - np.array(centre_mm)) / np.array(widths_mm)) ** 2
        field += height * np.exp(-0.5 * distance.sum(axis=-1))
    return peak_hz * field


def coil_shading(
    points_mm: Float[np.ndarray, "*shape 3"], strength: float
) -> Float[np.ndarray, "*shape"]:
    """Give the coil's sensitivity; over the brain its logarithm ranges over twice the strength."""
    x, y, z = np.moveaxis(points_mm / _RADIUS_MM, -1, 0)
    bowl = x**2 + y**2 + z**2 - 0.5
    return np.exp(strength * (0.75 * y - 0.6 * x + 0.4 * z + 0.5 * bowl))
