"""Fits that take each voxel alone: in chunks over processes, and back into images."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float
from joblib import Parallel, delayed, parallel_config

from .solution import FodfSolution

LOGGER = logging.getLogger(__name__)

_CHUNK = 1000  # voxels a task: seconds of work, megabytes of data

#: Takes the signal of some voxels; gives their coefficients and the signal that these predict.
FitChunk = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def fit_voxelwise(
    fit_chunk: FitChunk, signal: Float[np.ndarray, "voxel volume"], *, n_threads: int
) -> tuple[Float[np.ndarray, "voxel coef"], Float[np.ndarray, " voxel"]]:
    """Fit voxels in chunks, each in one of ``n_threads`` processes.

    Returns
    -------
    coefficients, rmse
        Of each voxel; not finite where the fit found no solution.
    """
    starts = range(0, len(signal), _CHUNK)
    with parallel_config(backend="loky", inner_max_num_threads=1):
        parts = Parallel(n_jobs=n_threads)(
            delayed(_fit_with_residual)(fit_chunk, signal[start : start + _CHUNK])
            for start in starts
        )
    coefficients, rmse = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return coefficients, rmse


def make_solution(
    model: str,
    mask: Bool[np.ndarray, "x y z"],
    coefficients: Float[np.ndarray, "voxel coef"],
    rmse: Float[np.ndarray, " voxel"],
    isotropic: Sequence[str],
    fibre_lobe: tuple[float, ...] | None = None,
) -> FodfSolution:
    """Put what was found in the voxels of the mask back into images.

    Parameters
    ----------
    model
        Label of the model.
    mask
        Where the voxels lie.
    coefficients
        fODF, then one column per tissue of ``isotropic``. A voxel whose values are not finite
        becomes zero.
    rmse
        Residual of each voxel.
    isotropic
        Tissues beside white matter.
    fibre_lobe
        As in ``FodfSolution``.
    """
    failed = ~np.isfinite(coefficients).all(axis=1)
    if failed.any():
        LOGGER.warning("%s found no solution in %d voxels; they are zero.", model, failed.sum())
    usable = np.where(failed[:, None], 0.0, coefficients)
    n_coef = coefficients.shape[1] - len(isotropic)

    def to_image(values: np.ndarray) -> np.ndarray:
        image = np.zeros((*mask.shape, *values.shape[1:]), dtype=np.float32)
        image[mask] = values
        return image

    return FodfSolution(
        model,
        fodf_sh=to_image(usable[:, :n_coef]),
        rmse=to_image(rmse),
        tissue={name: to_image(usable[:, n_coef + i]) for i, name in enumerate(isotropic)},
        fibre_lobe=fibre_lobe,
    )


def _fit_with_residual(fit_chunk: FitChunk, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    coefficients, predicted = fit_chunk(signal.astype(np.float64))
    residual = signal - predicted
    return coefficients.astype(np.float32), np.sqrt((residual**2).mean(axis=1))
