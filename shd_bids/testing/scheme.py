"""Gradient schemes for the phantom: shells of evenly spread directions."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

MULTI_SHELL: Mapping[int, int] = {0: 6, 1000: 30, 2500: 60}
SINGLE_SHELL: Mapping[int, int] = {0: 2, 1000: 32}
LOW_ANGULAR: Mapping[int, int] = {0: 2, 1000: 15}
LOW_ANGULAR_MULTI_SHELL: Mapping[int, int] = {0: 2, 1000: 10, 2500: 20}


def spread_directions(
    n_direction: int, *, seed: int, n_step: int = 600
) -> Float[np.ndarray, "direction 3"]:
    """Spread axes over the sphere by electrostatic repulsion.

    Each direction and its antipode carry a charge (Jones et al., 1999). The same seed gives the
    same directions on every machine to rounding.

    Examples
    --------
    >>> axes = spread_directions(3, seed=0)
    >>> np.allclose(np.abs(axes @ axes.T), np.eye(3), atol=1e-3)
    True
    """
    axes = np.random.default_rng(seed).normal(size=(n_direction, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    step = 0.5 / np.sqrt(n_direction)
    for index in range(n_step if n_direction > 1 else 0):
        charges = np.concatenate([axes, -axes])
        offset = axes[:, None] - charges[None]  # (direction, charge, 3)
        distance = np.linalg.norm(offset, axis=2)
        distance[np.arange(n_direction), np.arange(n_direction)] = np.inf
        force = (offset / distance[..., None] ** 3).sum(axis=1)
        force -= (force * axes).sum(axis=1, keepdims=True) * axes
        largest = np.linalg.norm(force, axis=1).max()
        axes = axes + step * (1 - index / n_step) * force / max(largest, 1e-12)
        axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return axes


def make_scheme(
    shells: Mapping[int, int], *, seed: int
) -> tuple[Float[np.ndarray, " volume"], Float[np.ndarray, "volume 3"]]:
    """Lay out a scan: shells one after the other, the b=0 volumes spread evenly between.

    Parameters
    ----------
    shells
        Number of volumes for each b-value in s/mm².

    Returns
    -------
    bvals, bvecs_ras
        The vectors of b=0 volumes are zero.
    """
    weighted = sorted(bval for bval, count in shells.items() if bval > 0 and count > 0)
    bvals = np.concatenate([np.full(shells[bval], float(bval)) for bval in weighted])
    bvecs = np.concatenate([spread_directions(shells[bval], seed=seed + bval) for bval in weighted])
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=len(bvecs))
    places = np.linspace(0, len(bvals), shells.get(0, 0), endpoint=False).round().astype(int)
    return np.insert(bvals, places, 0.0), np.insert(bvecs * signs[:, None], places, 0.0, axis=0)
