"""Denoising by prediction from the other volumes (Patch2Self).

Each volume is regressed on all others of its kind; noise cannot be predicted, because it is
independent between volumes (Fadnavis et al., NeurIPS 33, 2020). With a patch of one voxel and
ordinary least squares, DIPY's default, all regressions together are one inverse: with P the inverse
covariance of the volumes, volume j is predicted from volume i with the weight -P_ij / P_jj. DIPY
1.12 itself cannot be used: its version 3 mixes volumes up where b=0 does not come first or the
count of volumes is no multiple of its batches, and its version 1 predicts from centred volumes.
"""

import logging
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

LOGGER = logging.getLogger(__name__)

_FEWEST = 8  # volumes that can predict where the head lay in one of them: motion has 6 parameters
_CHUNK = 50_000
_RIDGE = 1e-12  # of the mean variance: volumes without noise predict each other exactly


def denoise_patch2self(
    dwi: Float[np.ndarray, "x y z volume"],
    is_b0: Bool[np.ndarray, " volume"],
    mask: Bool[np.ndarray, "x y z"] | None = None,
) -> tuple[Float[np.ndarray, "x y z volume"], Float[np.ndarray, "x y z"]]:
    """Remove thermal noise and estimate its level.

    Volumes at b=0 are predicted from each other. Fewer than 8 of a kind come back as they are: two
    would be given each other's noise and each other's place.

    Parameters
    ----------
    dwi
        Scanner units, neither filtered nor interpolated before.
    is_b0
        Which volumes are at b=0.
    mask
        Where to denoise; None for everywhere. Voxels outside, and voxels that are 0 in every
        volume, come back as they are.

    Returns
    -------
    denoised : Float[np.ndarray, "x y z volume"]
        32-bit, 0 or more.
    sigma : Float[np.ndarray, "x y z"]
        Standard deviation of the noise, scanner units, from what could not be predicted; 0 where
        nothing was denoised.
    """
    n_volume = dwi.shape[3]
    denoised = np.array(dwi, dtype=np.float32, order="C").reshape(-1, n_volume)
    wanted = np.asarray(denoised.any(axis=1))
    if mask is not None:
        wanted &= mask.ravel()
    voxels = np.flatnonzero(wanted)
    squares, n_predicted = np.zeros(len(denoised), dtype=np.float32), 0
    for members in (np.flatnonzero(is_b0), np.flatnonzero(~is_b0)):
        if len(members) < _FEWEST or len(voxels) < 2:
            continue
        mean, weights = _fit_predictions(denoised, voxels, members)
        gain = 1 + (weights**2).sum(axis=0)  # the predictors are noisy too
        for chunk in _chunks(voxels):
            part = np.ix_(chunk, members)
            values = denoised[part]
            predicted = mean + (values - mean) @ weights
            squares[chunk] += ((values - predicted) ** 2 / gain).sum(axis=1)
            denoised[part] = np.maximum(predicted, 0)
        n_predicted += len(members)
    LOGGER.info("Patch2Self: %d of %d volumes predicted from others.", n_predicted, n_volume)
    sigma = np.sqrt(squares / max(n_predicted, 1))
    return denoised.reshape(dwi.shape), sigma.reshape(dwi.shape[:3])


def _fit_predictions(
    series: Float[np.ndarray, "voxel volume"],
    voxels: Int[np.ndarray, " chosen"],
    members: Int[np.ndarray, " member"],
) -> tuple[Float[np.ndarray, " member"], Float[np.ndarray, "member member"]]:
    """Give each volume's mean, and the weight of every volume (row) in predicting it (column)."""
    total = np.zeros(len(members))
    products = np.zeros((len(members), len(members)))
    for chunk in _chunks(voxels):
        values = series[np.ix_(chunk, members)].astype(np.float64)
        total += values.sum(axis=0)
        products += values.T @ values
    mean = total / len(voxels)
    covariance = products / len(voxels) - np.outer(mean, mean)
    ridge = _RIDGE * np.trace(covariance) / len(members)
    precision = np.linalg.pinv(covariance + ridge * np.eye(len(members)), hermitian=True)
    weights = -precision / np.diag(precision)
    np.fill_diagonal(weights, 0)
    return mean, weights


def _chunks(voxels: Int[np.ndarray, " voxel"]) -> Iterator[Int[np.ndarray, " part"]]:
    for start in range(0, len(voxels), _CHUNK):
        yield voxels[start : start + _CHUNK]
