"""A tractogram of five known bundles and clutter, and models of them in another space."""

import numpy as np
from nibabel.affines import apply_affine
from scipy.spatial.transform import Rotation

# Control points of quadratic curves, RAS mm: start, handle, end.
CURVES = {
    "callosum": ((-45, -10, 45), (0, -10, -15), (45, -10, 45)),
    "cstL": ((-12, -20, -50), (-18, -18, 20), (-35, -22, 55)),
    "cstR": ((12, -20, -50), (18, -18, 20), (35, -22, 55)),
    "cingulum": ((-8, -50, 10), (-8, -10, 70), (-8, 40, 10)),
    "uncinate": ((-45, 0, -35), (-20, 45, -30), (-28, 40, 10)),
}
TO_MODEL = np.eye(4)
TO_MODEL[:3, :3] = 1.08 * Rotation.from_euler("xyz", [9, -6, 12], degrees=True).as_matrix()
TO_MODEL[:3, 3] = [8.0, -14.0, 11.0]


def lines_of(curve, n_line, generator, *, spread_mm=3.0, n_point=60) -> list[np.ndarray]:
    """Streamlines of a bundle, some of them backwards, of unequal reach."""
    start, handle, end = np.asarray(curve, dtype=float)
    lines = []
    for _ in range(n_line):
        low, high = generator.uniform(0, 0.04), generator.uniform(0.96, 1)
        t = np.linspace(low, high, n_point)[:, None]
        line = (1 - t) ** 2 * start + 2 * t * (1 - t) * handle + t**2 * end
        line = line + generator.normal(0, spread_mm, 3)
        lines.append((line if generator.random() < 0.5 else line[::-1]).astype(np.float32))
    return lines


def clutter(n_line, generator) -> list[np.ndarray]:
    """Streamlines between random places of the brain."""
    return [
        lines_of(generator.uniform(-55, 55, (3, 3)), 1, generator)[0] for _ in range(n_line)
    ]  # fmt: skip


def tractogram(seed=0, *, n_line=150, n_clutter=300) -> tuple[list[np.ndarray], np.ndarray]:
    """Streamlines in a random order, and the label of each."""
    generator = np.random.default_rng(seed)
    lines, labels = [], []
    for label, curve in CURVES.items():
        lines += lines_of(curve, n_line, generator)
        labels += [label] * n_line
    lines += clutter(n_clutter, generator)
    labels += ["clutter"] * n_clutter
    order = generator.permutation(len(lines))
    return [lines[o] for o in order], np.array(labels)[order]


def model_lines(seed=1, *, n_line=80) -> dict[str, list[np.ndarray]]:
    """Other streamlines of the same bundles, in the space of the models."""
    generator = np.random.default_rng(seed)
    return {
        label: [
            apply_affine(TO_MODEL, line).astype(np.float32)
            for line in lines_of(curve, n_line, generator)
        ]
        for label, curve in CURVES.items()
    }
