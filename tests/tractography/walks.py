"""Random streamlines of known shape, for the tests of files and maps."""

import numpy as np

from shd_bids.tractography.streamlines import Streamlines


def random_walks(
    affine: np.ndarray,
    shape: tuple[int, int, int],
    n: int = 200,
    n_point: int = 40,
    *,
    bend: float = 0.15,
    seed: int = 0,
) -> Streamlines:
    """Walk up to so many steps of 1 mm from anywhere in an image, straight if without bend."""
    generator = np.random.default_rng(seed)
    start = generator.uniform(0, np.array(shape) - 1, size=(n, 3))
    steps = generator.normal(size=(n, 1, 3))
    steps = steps / np.linalg.norm(steps, axis=-1, keepdims=True)
    steps = steps + np.cumsum(generator.normal(size=(n, n_point, 3)) * bend, axis=1)
    steps /= np.linalg.norm(steps, axis=-1, keepdims=True)
    origin = start @ affine[:3, :3].T + affine[:3, 3]
    walks = origin[:, None] + np.cumsum(steps, axis=1)
    n_points = generator.integers(n_point // 4, n_point, size=n)
    return Streamlines.of(walk[:some] for walk, some in zip(walks, n_points, strict=True))
