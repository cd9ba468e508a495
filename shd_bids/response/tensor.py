"""Diffusion tensors by weighted least squares, only as far as responses need them."""

import numpy as np
from jaxtyping import Float

_CHUNK = 20_000


def fit_tensor(
    signal: Float[np.ndarray, "voxel volume"],
    bvals: Float[np.ndarray, " volume"],
    bvecs: Float[np.ndarray, "volume 3"],
) -> tuple[Float[np.ndarray, " voxel"], Float[np.ndarray, "voxel 3"]]:
    """Fit a tensor per voxel and give its anisotropy and main direction.

    Log-linear least squares, then one pass weighted by the squared predicted signal.

    Parameters
    ----------
    signal
        Signals; values that are not positive are raised to a small share of the voxel's largest.
    bvals
        b-values (s/mm²).
    bvecs
        Unit gradient vectors in any frame; the direction comes out in the same.

    Returns
    -------
    fractional_anisotropy
        Between 0 and 1.
    direction
        Unit vector of the largest eigenvalue.
    """
    x, y, z = bvecs.T
    terms = np.stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z, np.ones_like(x)])
    design = terms.T * np.append(-np.ones(6), 1.0)
    design[:, :6] *= bvals[:, None]  # (volume, 7)
    scale = np.abs(design).max(axis=0)
    design = design / scale
    # One row per volume of the products that make up the 7x7 normal matrix.
    products = (design[:, :, None] * design[:, None, :]).reshape(len(bvals), 49)
    inverse = np.linalg.pinv(design)

    anisotropy = np.empty(len(signal), dtype=np.float32)
    direction = np.empty((len(signal), 3), dtype=np.float32)
    for start in range(0, len(signal), _CHUNK):
        part = slice(start, start + _CHUNK)
        values = signal[part].astype(np.float64)
        floor = np.maximum(values.max(axis=1, keepdims=True) * 1e-3, 1e-12)
        log_signal = np.log(np.maximum(values, floor))
        fit = log_signal @ inverse.T
        log_fit = fit @ design.T
        weight = np.exp(2.0 * (log_fit - log_fit.max(axis=1, keepdims=True)))
        normal = (weight @ products).reshape(-1, 7, 7)
        normal += 1e-9 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(7)
        right = (weight * log_signal) @ design
        fit = np.linalg.solve(normal, right[..., None])[..., 0] / scale
        anisotropy[part], direction[part] = _decompose(fit)
    return anisotropy, direction


def _decompose(fit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = [[0, 3, 4], [3, 1, 5], [4, 5, 2]]
    values, vectors = np.linalg.eigh(fit[:, order])
    values = np.maximum(values, 0.0)
    spread = values - values.mean(axis=1, keepdims=True)
    power = np.maximum((values**2).sum(axis=1), 1e-30)
    anisotropy = np.sqrt(1.5 * (spread**2).sum(axis=1) / power)
    return np.clip(anisotropy, 0.0, 1.0), vectors[:, :, 2]
