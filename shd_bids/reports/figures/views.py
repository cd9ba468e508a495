"""From where a three-dimensional picture is seen."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class View:
    """One direction of view, in RAS axes.

    Attributes
    ----------
    name
        Written over the picture.
    toward
        From the brain towards the reader.
    up
        Upwards on the page.
    sides
        Letters at the left and at the right of the page.
    """

    name: str
    toward: tuple[float, float, float]
    up: tuple[float, float, float]
    sides: tuple[str, str]

    @property
    def page(self) -> Float[np.ndarray, "3 3"]:
        """Rotation from RAS to the page: right, up, towards the reader."""
        return np.stack([np.cross(self.up, self.toward), self.up, self.toward])


VIEWS = (
    View("from the left", (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0), ("A", "P")),
    View("from the front", (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), ("R", "L")),
    View("from above", (0.0, 0.0, 1.0), (0.0, 1.0, 0.0), ("L", "R")),
)


def direction_hue(steps: Float[np.ndarray, "step 3"]) -> Float[np.ndarray, "step 3"]:
    """Give each step its direction as a colour: red, green, blue for x, y, z.

    Examples
    --------
    >>> direction_hue(np.array([[0.0, -2.0, 0.0], [3.0, 0.0, 4.0]]))
    array([[0. , 1. , 0. ],
           [0.6, 0. , 0.8]])
    """
    return np.abs(steps) / np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-6)


def shade_by_depth(depth: Float[np.ndarray, " point"]) -> Float[np.ndarray, " point"]:
    """Darken what is far from the reader, from 0.3 to 1.

    Examples
    --------
    >>> shade_by_depth(np.array([0.0, 5.0, 10.0])).round(2)
    array([0.3 , 0.65, 1.  ])
    """
    if depth.size == 0:
        return depth
    low, high = float(depth.min()), float(depth.max())
    return 0.3 + 0.7 * (depth - low) / max(high - low, 1e-6)
