"""Numbers recorded from the authors' implementation, where they lie beside the checkout."""

from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "reference"


def load_reference(name: str) -> dict[str, np.ndarray]:
    """Load a recording, or skip the test where there is none."""
    file = FOLDER / f"{name}.npz"
    if not file.is_file():
        pytest.skip(f"no recorded numbers at {file}")
    with np.load(file) as content:
        return dict(content)


def rescale(laplacian: np.ndarray, factor: float) -> np.ndarray:
    """Give the Laplacian for a largest eigenvalue that is smaller by ``factor``.

    The authors rescale with an iterative estimate of the largest eigenvalue, whose tolerance is
    0.5 %: two runs of theirs differ by such a factor.
    """
    assert abs(factor - 1.0) < 0.005
    identity = np.eye(len(laplacian))
    return factor * (laplacian + identity) - identity
