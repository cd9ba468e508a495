"""Even functions on the sphere as homogeneous polynomials, whose peaks Newton's method finds.

An even function of degree at most L on the unit sphere is the restriction of exactly one
homogeneous polynomial p of degree L in x, y, z: there are (L + 1)(L + 2) / 2 monomials and as many
harmonics.
Euler's identities then give everything from the second derivatives H alone,

    grad p = H x / (L - 1),    p = x . grad p / L,

and on the sphere the tangential gradient is P grad p, the tangential Hessian P H P - L p P, where P
projects on the tangent plane at x.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from dipy.data import get_sphere
from jaxtyping import Float, Int

from shd_bids.sphere.harmonics import degree_of_count, sh_basis

_MAX_STEP_RAD = 0.08  # about twice the spacing of the search directions
_N_CANDIDATE_CHUNK = 8192


@dataclass(frozen=True)
class _Monomials:
    """Tables that turn SH coefficients into the six second derivatives of the polynomial."""

    from_sh: Float[np.ndarray, "coef monomial"]
    source: Int[np.ndarray, "6 second"]  # monomial that each second derivative comes from
    factor: Float[np.ndarray, "6 second"]
    exponents: Int[np.ndarray, "second 3"]  # of the monomials of degree L - 2


def _exponents(degree: int) -> Int[np.ndarray, "monomial 3"]:
    return np.array(
        [(a, b, degree - a - b) for a in range(degree + 1) for b in range(degree + 1 - a)]
    )


@lru_cache(maxsize=8)
def _monomials(lmax: int) -> _Monomials:
    directions = get_sphere(name="repulsion724").vertices
    exponents = _exponents(lmax)
    values = np.prod(directions[:, None, :] ** exponents, axis=2)  # (direction, monomial)
    scale = np.linalg.norm(values, axis=0)
    solution, *_ = np.linalg.lstsq(values / scale, sh_basis(directions, lmax), rcond=None)
    row = {tuple(exponent): i for i, exponent in enumerate(exponents.tolist())}
    second = _exponents(lmax - 2)
    source, factor = [], []
    for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)):
        by_j = second + np.eye(3, dtype=int)[j]  # exponents once x_j is put back
        by_both = by_j + np.eye(3, dtype=int)[i]
        factor.append(by_j[:, j] * by_both[:, i])
        source.append([row[tuple(exponent)] for exponent in by_both.tolist()])
    return _Monomials(
        from_sh=(solution / scale[:, None]).T,
        source=np.array(source),
        factor=np.array(factor, dtype=float),
        exponents=second,
    )


def refine_peaks(
    fodf_sh: Float[np.ndarray, "candidate coef"],
    directions: Float[np.ndarray, "candidate 3"],
    *,
    n_iteration: int = 4,
) -> tuple[
    Float[np.ndarray, "candidate 3"],
    Float[np.ndarray, " candidate"],
    Float[np.ndarray, " candidate"],
]:
    """Climb from each direction to the maximum nearby, by Newton's method on the sphere.

    Parameters
    ----------
    fodf_sh
        SH coefficients of the function to which each candidate belongs, degree at least 2.
    directions
        Unit vectors near a maximum.
    n_iteration
        Newton steps; the error squares at each.

    Returns
    -------
    directions
        Unit vectors at the maxima.
    amplitudes
        Values there.
    curvatures
        Larger of the two principal second derivatives per square radian, negative at a maximum.
    """
    tables = _monomials(degree_of_count(fodf_sh.shape[1]))
    found = np.array(directions, dtype=float)
    amplitudes = np.empty(len(found))
    curvatures = np.empty(len(found))
    for start in range(0, len(found), _N_CANDIDATE_CHUNK):
        part = slice(start, start + _N_CANDIDATE_CHUNK)
        polynomial = np.asarray(fodf_sh[part], dtype=float) @ tables.from_sh
        second = polynomial[:, tables.source]  # (candidate, 6, second)
        second *= tables.factor
        for _ in range(n_iteration):
            step, _, _ = _newton_step(second, found[part], tables.exponents)
            found[part] += step
            found[part] /= np.linalg.norm(found[part], axis=1, keepdims=True)
        _, amplitudes[part], curvatures[part] = _newton_step(second, found[part], tables.exponents)
    return found, amplitudes, curvatures


def _newton_step(
    second: Float[np.ndarray, "candidate 6 second"],
    x: Float[np.ndarray, "candidate 3"],
    exponents: Int[np.ndarray, "second 3"],
) -> tuple[
    Float[np.ndarray, "candidate 3"],
    Float[np.ndarray, " candidate"],
    Float[np.ndarray, " candidate"],
]:
    degree = int(exponents[0].sum()) + 2
    powers = np.ones((degree - 1, *x.shape))
    np.cumprod(np.broadcast_to(x, (degree - 2, *x.shape)), axis=0, out=powers[1:])
    values = (powers[exponents[:, 0], :, 0] * powers[exponents[:, 1], :, 1]) * powers[
        exponents[:, 2], :, 2
    ]  # (second, candidate)
    h = np.matmul(second, values.T[:, :, None])[:, [0, 1, 2, 1, 3, 4, 2, 4, 5], 0]
    hessian = h.reshape(-1, 3, 3)
    gradient = np.matmul(hessian, x[:, :, None])[:, :, 0] / (degree - 1)
    amplitude = np.einsum("ni,ni->n", gradient, x) / degree
    tangent = _tangent_frames(x)  # (candidate, 2, 3)
    slope = np.einsum("nti,ni->nt", tangent, gradient)
    bend = np.einsum("nti,nij,nsj->nts", tangent, hessian, tangent, optimize=True)
    bend[:, [0, 1], [0, 1]] -= degree * amplitude[:, None]
    mean = (bend[:, 0, 0] + bend[:, 1, 1]) / 2
    spread = np.hypot((bend[:, 0, 0] - bend[:, 1, 1]) / 2, bend[:, 0, 1])
    # Where the function is not concave, a shift makes it so, and the step leads uphill.
    shift = np.where(mean + spread < 0, 0.0, 1.1 * (mean + spread) + 1e-12)
    a, b, c = bend[:, 0, 0] - shift, bend[:, 0, 1], bend[:, 1, 1] - shift
    determinant = np.maximum(a * c - b * b, 1e-30)
    u = -(c * slope[:, 0] - b * slope[:, 1]) / determinant
    v = -(a * slope[:, 1] - b * slope[:, 0]) / determinant
    length = np.maximum(np.hypot(u, v), 1e-30)
    shrink = np.minimum(1.0, _MAX_STEP_RAD / length)
    step = (shrink * u)[:, None] * tangent[:, 0] + (shrink * v)[:, None] * tangent[:, 1]
    return step, amplitude, mean + spread


def _tangent_frames(x: Float[np.ndarray, "candidate 3"]) -> Float[np.ndarray, "candidate 2 3"]:
    helper = np.zeros_like(x)
    helper[np.arange(len(x)), np.argmin(np.abs(x), axis=1)] = 1.0
    first = np.cross(x, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(x, first)], axis=1)
