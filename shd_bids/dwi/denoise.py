"""Denoising by Marchenko-Pastur principal component analysis (MP-PCA).

In a small patch of a diffusion series the signal lives in a few principal components; the
eigenvalues of the others follow the Marchenko-Pastur law, whose width gives the noise level
(Veraart et al., NeuroImage 142, 2016). Overlapping patches are averaged as in
`dipy.denoise.localpca.mppca` (Manjon et al., PLoS ONE 8, 2013); the split between signal and noise
is the one of MRtrix3's ``dwidenoise``, because DIPY's finds next to no noise where a patch has
about as many voxels as there are volumes. Patches are worked on in batches and threads and stand
on every second voxel, so that a whole brain takes a minute or two.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
from jaxtyping import Bool, Float, Int
from threadpoolctl import threadpool_limits

LOGGER = logging.getLogger(__name__)

_BATCH = 512
_Estimates = tuple[
    Float[np.ndarray, "patch voxel volume"],
    Float[np.ndarray, " patch"],
    Float[np.ndarray, " patch"],
]


def denoise_mppca(
    dwi: Float[np.ndarray, "x y z volume"],
    mask: Bool[np.ndarray, "x y z"] | None = None,
    *,
    patch_radius: int | None = None,
    stride: int = 2,
    n_threads: int = 1,
) -> tuple[Float[np.ndarray, "x y z volume"], Float[np.ndarray, "x y z"]]:
    """Remove thermal noise and estimate its level.

    Parameters
    ----------
    dwi
        Scanner units, neither filtered nor interpolated before.
    mask
        Where to denoise; None for everywhere. Voxels outside, and voxels that are 0 in every
        volume, come back as they are.
    patch_radius
        Half width of the cubic patch in voxels; None for the smallest with at least as many
        voxels as the series has volumes.
    stride
        Distance between patch centres in voxels; 1 is DIPY's way and 8 times as slow as 2.
    n_threads
        Number of threads.

    Returns
    -------
    denoised : Float[np.ndarray, "x y z volume"]
        32-bit, 0 or more.
    sigma : Float[np.ndarray, "x y z"]
        Standard deviation of the noise, scanner units; 0 where nothing was denoised.
    """
    n_volume = dwi.shape[3]
    radius = default_patch_radius(n_volume) if patch_radius is None else patch_radius
    shape = dwi.shape[:3]
    patch = tuple(min(2 * radius + 1, n) for n in shape)
    voxels = np.ascontiguousarray(dwi, dtype=np.float32).reshape(-1, n_volume)
    wanted = np.asarray(voxels.any(axis=1))
    if mask is not None:
        wanted &= mask.ravel()
    corners = _patch_corners(wanted.reshape(shape), patch, stride)
    offsets = np.asarray(np.ravel_multi_index(tuple(np.indices(patch).reshape(3, -1)), shape))
    LOGGER.info("MP-PCA: %d patches of %d x %d x %d voxels.", len(corners), *patch)

    weighted = np.zeros_like(voxels)
    weighted_variance = np.zeros(len(voxels), dtype=np.float32)
    weight = np.zeros(len(voxels), dtype=np.float32)

    def work(batch: Int[np.ndarray, " patch"]) -> _Estimates:
        return _denoise_patches(voxels[batch[:, None] + offsets])

    batches = [corners[i : i + _BATCH] for i in range(0, len(corners), _BATCH)]
    # BLAS threads on matrices this small cost 15 times what they save
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(n_threads) as pool:
        for batch, (estimate, variance, theta) in zip(
            batches, _map_ahead(pool, work, batches, 2 * n_threads), strict=True
        ):
            estimate *= theta[:, None, None]
            for column, offset in enumerate(offsets):
                place = batch + offset  # no voxel twice: corners differ
                weighted[place] += estimate[:, column]
                weighted_variance[place] += theta * variance
                weight[place] += theta

    covered = wanted & (weight > 0)
    denoised = voxels.copy()
    denoised[covered] = np.maximum(weighted[covered] / weight[covered, None], 0)
    sigma = np.zeros(len(voxels), dtype=np.float32)
    sigma[covered] = np.sqrt(weighted_variance[covered] / weight[covered])
    return denoised.reshape(dwi.shape), sigma.reshape(shape)


def default_patch_radius(n_volume: int) -> int:
    """Give the half width of the smallest cube with at least as many voxels as volumes.

    Parameters
    ----------
    n_volume
        Number of volumes.

    Returns
    -------
    int
        1 or more.

    Examples
    --------
    >>> [default_patch_radius(n_volume) for n_volume in (13, 65, 288)]
    [1, 2, 3]
    """
    radius = 1
    while (2 * radius + 1) ** 3 < n_volume:
        radius += 1
    return radius


def _patch_corners(
    wanted: Bool[np.ndarray, "x y z"], patch: tuple[int, ...], stride: int
) -> Int[np.ndarray, " patch"]:
    """Give the first voxel of each patch that holds a wanted voxel; together they cover all."""
    starts = []
    for n, width in zip(wanted.shape, patch, strict=True):
        last = n - width
        starts.append(np.unique(np.append(np.arange(0, last + 1, stride), last)))
    # summed-area table: number of wanted voxels in each patch
    table = np.pad(wanted, ((1, 0),) * 3).astype(np.int64).cumsum(0).cumsum(1).cumsum(2)
    count = np.zeros(tuple(len(start) for start in starts), dtype=np.int64)
    for high in np.ndindex(2, 2, 2):
        at = [s + width * h for s, width, h in zip(starts, patch, high, strict=True)]
        count += (-1) ** (3 - sum(high)) * table[np.ix_(*at)]
    grid = np.meshgrid(*starts, indexing="ij")
    chosen = tuple(axis[count > 0] for axis in grid)
    return np.ravel_multi_index(chosen, wanted.shape)


def _denoise_patches(patches: Float[np.ndarray, "patch voxel volume"]) -> _Estimates:
    """Give the denoised patches, their noise variance and their weight in the average."""
    n_voxel, n_volume = patches.shape[1:]
    mean = patches.mean(axis=1, keepdims=True)
    centred = patches - mean
    covariance = np.matmul(centred.transpose(0, 2, 1), centred) / np.float32(n_voxel)
    eigenvalues, vectors = np.linalg.eigh(covariance)  # ascending
    n_noise, variance = _split_noise(eigenvalues.astype(np.float64), n_voxel)
    is_noise = np.arange(n_volume) < n_noise[:, None]
    vectors[np.broadcast_to(is_noise[:, None, :], vectors.shape)] = 0
    estimate = np.matmul(np.matmul(centred, vectors), vectors.transpose(0, 2, 1)) + mean
    theta = 1.0 / (1.0 + (~is_noise).sum(axis=1))
    return estimate, variance.astype(np.float32), theta.astype(np.float32)


def _split_noise(
    eigenvalues: Float[np.ndarray, "patch volume"], n_voxel: int
) -> tuple[Int[np.ndarray, " patch"], Float[np.ndarray, " patch"]]:
    """Count the eigenvalues that noise explains, smallest first, and give the noise variance.

    The largest c is sought for which the c smallest eigenvalues spread no wider than the
    Marchenko-Pastur law allows for c random components of q - (r - c) samples, where r is the
    smaller and q the larger side of the patch matrix: the r - c signal components cost a degree
    of freedom each (Cordero-Grande et al., NeuroImage 200, 2019).
    """
    n_volume = eigenvalues.shape[1]
    n_sample = n_voxel - 1  # the mean was subtracted
    skipped = max(n_volume - n_sample, 0)  # zero by construction
    kept = np.maximum(eigenvalues[:, skipped:], 0) * (n_voxel / max(n_sample, n_volume))
    rank = kept.shape[1]
    count = np.arange(1, rank + 1)
    mean = np.cumsum(kept, axis=1) / count
    ratio = count / (max(n_sample, n_volume) - (rank - count))
    fits = kept - kept[:, :1] <= 4 * np.sqrt(ratio) * mean
    fits[:, 0] = True
    last = rank - 1 - np.argmax(fits[:, ::-1], axis=1)
    variance = np.take_along_axis(mean, last[:, None], axis=1)[:, 0]
    return last + 1 + skipped, variance


def _map_ahead(
    pool: ThreadPoolExecutor,
    function: Callable[[np.ndarray], _Estimates],
    items: list[np.ndarray],
    n_ahead: int,
) -> Iterator[_Estimates]:
    """Map in order with few results waiting: `ThreadPoolExecutor.map` would hold them all."""
    remaining = iter(items)
    running = deque(pool.submit(function, item) for item in islice(remaining, n_ahead))
    while running:
        result = running.popleft().result()
        running.extend(pool.submit(function, item) for item in islice(remaining, 1))
        yield result
