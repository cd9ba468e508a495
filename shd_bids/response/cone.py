"""Least squares under linear inequalities, solved exactly."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

_RIDGE = 1e-10


@dataclass(frozen=True, eq=False)
class ConeSolver:
    """Minimiser of x'Nx/2 - r'x subject to Cx >= 0, for many right-hand sides r.

    In the coordinates y = L'x, where N = LL', the solution is the projection of the free solution
    onto a cone; the dual of that is a non-negative least squares problem (Lawson and Hanson, 1974,
    chapter 23), whose active set ends at the exact answer. First-order solvers stop early here:
    high degrees hardly touch the signal, so that a tiny gap in the cost is a large one in them.

    Attributes
    ----------
    lower
        Cholesky factor L of N with a trace of ridge.
    normals
        The unit normals of the cone's faces in the coordinates y.
    """

    lower: Float[np.ndarray, "coef coef"]
    normals: Float[np.ndarray, "coef constraint"]

    @classmethod
    def build(
        cls,
        normal: Float[np.ndarray, "coef coef"],
        constraint: Float[np.ndarray, "constraint coef"],
    ) -> "ConeSolver":
        """Factor the problem once.

        Parameters
        ----------
        normal
            N, symmetric and positive semi-definite.
        constraint
            C; its rows may have any positive scale.
        """
        n_coef = len(normal)
        ridge = _RIDGE * np.trace(normal) / n_coef
        lower = np.linalg.cholesky(normal + ridge * np.eye(n_coef))
        normals = np.linalg.solve(lower, constraint.T)
        return cls(lower, normals / np.linalg.norm(normals, axis=0))

    def solve(self, right: Float[np.ndarray, "problem coef"]) -> Float[np.ndarray, "problem coef"]:
        """Solve for each row; a row whose active set does not settle comes back as NaN.

        Examples
        --------
        >>> ConeSolver.build(np.eye(2), np.eye(2)).solve(np.array([[1.0, -1.0]])).round(6)
        array([[1., 0.]])
        """
        free = np.linalg.solve(self.lower, right.T).T
        projected = np.array([self._project(point) for point in free]).reshape(free.shape)
        return np.linalg.solve(self.lower.T, projected.T).T

    def _project(self, free: np.ndarray) -> np.ndarray:
        try:
            weight, _ = nnls(self.normals, -free)
        except RuntimeError:
            return np.full_like(free, np.nan)
        return free + self.normals @ weight
