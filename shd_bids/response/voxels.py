"""Voxels that one tissue fills, found in the diffusion data alone.

In the manner of Dhollander et al. (2016, 2019): anisotropy parts white matter from the rest, and
the decay of the signal with b parts grey matter from CSF; each class is then narrowed to its core.
"""

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_erosion

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.shells import Shells
from shd_bids.errors import ResponseError

from .tensor import fit_tensor

LOGGER = logging.getLogger(__name__)

FA_THRESHOLD = 0.2
_MAX_EROSION = 3
_MIN_KEPT_BY_EROSION = 0.4
#: Share of the refined class that is kept, and the number that should not be fallen below.
_SHARE = {"WM": 0.005, "GM": 0.02, "CSF": 0.10}
_AT_LEAST = 10
_MAX_SHARE_OF_SMALL_CLASS = 0.3


@dataclass(frozen=True)
class TissueVoxels:
    """The voxels chosen for each tissue, as rows of the signal table.

    Attributes
    ----------
    rows
        Per tissue, the chosen rows of ``signal``.
    mask
        The voxels of the image that the rows of ``signal`` stand for.
    signal
        Signals inside ``mask``.
    direction
        Main tensor direction per row, in the frame of the gradients.
    """

    rows: dict[str, np.ndarray]
    mask: Bool[np.ndarray, "x y z"]
    signal: Float[np.ndarray, "voxel volume"]
    direction: Float[np.ndarray, "voxel 3"]

    def image(self, tissue: str) -> Bool[np.ndarray, "x y z"]:
        """Give the chosen voxels of a tissue as an image."""
        chosen = np.zeros(len(self.signal), dtype=bool)
        chosen[self.rows[tissue]] = True
        image = np.zeros(self.mask.shape, dtype=bool)
        image[self.mask] = chosen
        return image


def select_tissue_voxels(
    dwi: Float[np.ndarray, "x y z volume"],
    gradients: GradientTable,
    shells: Shells,
    mask: Bool[np.ndarray, "x y z"],
) -> TissueVoxels:
    """Choose single-fibre white matter, grey matter and CSF voxels.

    Parameters
    ----------
    dwi
        Diffusion data, scanner units.
    gradients
        One row per volume.
    shells
        Shell of each volume.
    mask
        Brain; it is eroded, because its rim holds skull and eyes.

    Returns
    -------
    TissueVoxels
        With at least one voxel of each tissue.

    Raises
    ------
    ResponseError
        When no voxel of a tissue is found.
    """
    inner = _erode(mask)
    means = np.stack([dwi[inner][:, shells.volumes(s)].mean(axis=1) for s in range(shells.n_shell)])
    usable = (means > 0).all(axis=0) & (means[0] > means[-1])
    inner[inner] = usable
    means = means[:, usable].astype(np.float64)  # (shell, voxel)
    signal = np.ascontiguousarray(dwi[inner], dtype=np.float32)
    if not len(signal):
        raise _nothing_found("usable", "every voxel of the mask is zero or grows with the b-value")
    decay = _measure_decay(means, shells)
    anisotropy, direction = fit_tensor(signal, gradients.bvals, gradients.bvecs_ras)

    white = anisotropy > FA_THRESHOLD
    crude_csf = ~white & (decay > _otsu(decay[~white]))
    rows = {
        "WM": np.flatnonzero(white & _inside_fences(decay, white)),
        "GM": np.flatnonzero(_around_median(decay, ~white & ~crude_csf)),
        "CSF": np.flatnonzero(crude_csf & (decay > _otsu(decay[crude_csf]))),
    }
    for tissue, members in rows.items():
        if not len(members):
            raise _nothing_found(tissue, f"{len(signal)} voxels were searched")
    purity = {
        "WM": _zonal_contrast(
            signal[rows["WM"]], direction[rows["WM"]], means[:, rows["WM"]], gradients, shells
        ),
        "GM": -np.abs(decay[rows["GM"]] - np.median(decay[rows["GM"]])),
        "CSF": decay[rows["CSF"]],
    }
    chosen = {
        tissue: members[np.argsort(-purity[tissue], kind="stable")[: _n_kept(tissue, len(members))]]
        for tissue, members in rows.items()
    }
    for tissue, members in chosen.items():
        LOGGER.info("%s response: %d of %d voxels.", tissue, len(members), len(rows[tissue]))
    return TissueVoxels(chosen, inner, signal, direction)


def _erode(mask: np.ndarray) -> np.ndarray:
    """Erode up to three times, while enough of the mask is left."""
    eroded = mask.copy()
    for _ in range(_MAX_EROSION):
        # The edge of the image is no rim of the brain: a cropped brain goes on beyond it.
        smaller = binary_erosion(eroded, border_value=1)
        if smaller.sum() < _MIN_KEPT_BY_EROSION * mask.sum():
            break
        eroded = smaller
    return eroded


def _measure_decay(means: np.ndarray, shells: Shells) -> np.ndarray:
    """Measure the log decay from b=0, averaged over all weighted volumes."""
    weights = shells.counts[1:] / shells.counts[1:].sum()
    return weights @ np.log(means[:1] / means[1:])


def _zonal_contrast(
    signal: np.ndarray,
    direction: np.ndarray,
    means: np.ndarray,
    gradients: GradientTable,
    shells: Shells,
) -> np.ndarray:
    """Measure how much the signal falls along the fibre: -sum of c2 over the sum of shell means.

    c2 is the l=2 zonal coefficient about the tensor's direction. Dividing by the means with b=0
    among them makes it blind to receive bias, and to neither CSF (high b=0) nor noise floor.
    """
    contrast = np.zeros(len(signal))
    for shell in range(1, shells.n_shell):
        volumes = shells.volumes(shell)
        cosine = direction @ gradients.bvecs_ras[volumes].T.astype(np.float32)
        legendre = 1.5 * cosine**2 - 0.5
        legendre -= legendre.mean(axis=1, keepdims=True)
        slope = (legendre * signal[:, volumes]).sum(axis=1) / (legendre**2).sum(axis=1)
        contrast -= slope
    return contrast / means.sum(axis=0)


def _otsu(values: np.ndarray) -> float:
    """Give the threshold that correlates best with the values (Otsu; Ridgway et al., 2009)."""
    if len(values) < 2:
        return -np.inf
    ordered = np.sort(values)
    n_below = np.arange(1, len(ordered))
    below = np.cumsum(ordered)[:-1]
    total = below[-1] + ordered[-1]
    mean_gap = below / n_below - (total - below) / (len(ordered) - n_below)
    best = int(np.argmax(n_below * (len(ordered) - n_below) * mean_gap**2))
    return float(ordered[best])


def _inside_fences(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    if not among.any():
        return among
    low, high = np.percentile(values[among], [25, 75])
    reach = 1.5 * (high - low)
    return among & (values >= low - reach) & (values <= high + reach)


def _around_median(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Keep the middle: each side of the median is cut at its own best threshold."""
    if among.sum() < 4:
        return among
    median = np.median(values[among])
    low = _otsu(values[among & (values <= median)])
    high = _otsu(values[among & (values >= median)])
    return among & (values >= low) & (values <= high)


def _n_kept(tissue: str, n_refined: int) -> int:
    share = int(np.ceil(_SHARE[tissue] * n_refined))
    floor = min(_AT_LEAST, int(np.ceil(_MAX_SHARE_OF_SMALL_CLASS * n_refined)))
    return max(share, floor)


def _nothing_found(what: str, detail: str) -> ResponseError:
    return ResponseError(
        f"No {what} voxels to estimate a response from: {detail}. Check that the mask covers the "
        "brain and that the gradients belong to this image, or give responses with --response."
    )
