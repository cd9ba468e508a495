"""Least squares under linear inequalities, solved exactly."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

_RIDGE = 1e-10
_TOLERANCE = 1e-7  # of the length of the free solution


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
        """Solve for each row; a row whose solution cannot be proven optimal comes back as NaN.

        Examples
        --------
        >>> ConeSolver.build(np.eye(2), np.eye(2)).solve(np.array([[1.0, -1.0]])).round(6)
        array([[1., 0.]])
        """
        free = np.linalg.solve(self.lower, right.T).T
        projected = self._project(free, self.normals)
        wrong = ~self._is_optimal(free, projected)
        if wrong.any():
            # SciPy 1.15 to 1.17 can, rarely, end on a wrong active set (scipy issue 25389); the
            # order of the columns decides when.
            projected[wrong] = self._project(free[wrong], self.normals[:, ::-1])
            wrong &= ~self._is_optimal(free, projected)
            projected[wrong] = np.nan
        return np.linalg.solve(self.lower.T, projected.T).T

    @staticmethod
    def _project(free: np.ndarray, normals: np.ndarray) -> np.ndarray:
        projected = np.empty_like(free)
        for number, point in enumerate(free):
            try:
                weight, _ = nnls(normals, -point)
            except RuntimeError:  # no end after 3 n steps
                weight = np.zeros(normals.shape[1])
            projected[number] = point + normals @ weight
        return projected

    def _is_optimal(self, free: np.ndarray, projected: np.ndarray) -> np.ndarray:
        """Check that each point lies in the cone and the step to it is orthogonal to it."""
        size = np.maximum(np.linalg.norm(free, axis=1), 1e-300)
        inside = (projected @ self.normals).min(axis=1) > -_TOLERANCE * size
        along = np.abs(np.einsum("pc,pc->p", projected, projected - free))
        return inside & (along < _TOLERANCE * size**2)
