"""Sets of directions on half the sphere, enough for even functions."""

from functools import lru_cache

import numpy as np
from dipy.core.sphere import HemiSphere
from dipy.core.subdivide_octahedron import create_unit_sphere
from dipy.data import get_sphere
from jaxtyping import Float, Int


@lru_cache(maxsize=1)
def search_sphere() -> tuple[Float[np.ndarray, "vertex 3"], Int[np.ndarray, "vertex neighbour"]]:
    """Return a fine grid on which maxima are looked for.

    Returns
    -------
    vertices
        2049 directions, about 4 degrees apart.
    neighbours
        The neighbours of each vertex, filled up with the vertex itself.
    """
    sphere = HemiSphere.from_sphere(create_unit_sphere(recursion_level=6))
    neighbours: list[list[int]] = [[] for _ in sphere.vertices]
    for a, b in sphere.edges:
        neighbours[a].append(int(b))
        neighbours[b].append(int(a))
    widest = max(map(len, neighbours))
    table = [near + [vertex] * (widest - len(near)) for vertex, near in enumerate(neighbours)]
    return sphere.vertices, np.array(table)


@lru_cache(maxsize=1)
def tracking_sphere() -> Float[np.ndarray, "direction 3"]:
    """Return 362 evenly spread directions, about 7 degrees apart, one of each antipodal pair."""
    x, y, z = get_sphere(name="repulsion724").vertices.T
    tiny = 1e-9
    upper = (z > tiny) | ((abs(z) <= tiny) & ((y > tiny) | ((abs(y) <= tiny) & (x > 0))))
    return np.ascontiguousarray(np.stack([x, y, z], axis=1)[upper])


def spiral(n_direction: int) -> Float[np.ndarray, "direction 3"]:
    """Return directions of equal area along a golden spiral, for integrals over the sphere."""
    i = np.arange(n_direction) + 0.5
    z = 1 - 2 * i / n_direction
    azimuth = np.pi * (1 + np.sqrt(5)) * i
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z], axis=1)
