"""Responses of the tissues of one scan, estimated from the scan itself."""

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.shells import Shells

from .io import Response
from .voxels import TissueVoxels, select_tissue_voxels
from .zonal import fit_zonal

LOGGER = logging.getLogger(__name__)

METHOD = (
    "single-fibre white matter, grey matter and CSF voxels were chosen from signal decay, "
    "anisotropy and zonal contrast in the manner of Dhollander et al. (2016, 2019); the white "
    "matter response is a constrained zonal least squares fit about the tensor direction "
    "(Smith et al., 2016)"
)
#: An average over fewer voxels is not to be relied on.
FEW_VOXELS = 10
_ISOTROPIC = np.sqrt(4.0 * np.pi)
_FREE_WATER_FLOOR = 2.0e-3  # mm²/s; free water at 37 °C has 3.0e-3


@dataclass(frozen=True)
class ResponseEstimate:
    """Estimated responses and where they come from.

    Attributes
    ----------
    responses
        By tissue, the tissues that the protocol can tell apart.
    voxels
        By tissue, the voxels that were averaged.
    method
        One sentence for the report.
    """

    responses: dict[str, Response]
    voxels: dict[str, Bool[np.ndarray, "x y z"]]
    method: str


def tissues_for_protocol(shells: Shells) -> tuple[tuple[str, ...], str]:
    """Say which tissues an acquisition can tell apart, and why.

    Parameters
    ----------
    shells
        Shells of the acquisition, b=0 included.

    Returns
    -------
    tissues
        Labels, WM first.
    reason
        One sentence for the report.
    """
    if shells.n_shell >= 3:
        return ("WM", "GM", "CSF"), (
            f"{shells.n_shell} shells (b=0 included) tell three tissues apart: "
            "white matter, grey matter and CSF."
        )
    return ("WM", "CSF"), (
        f"{shells.n_shell} shells (b=0 included) tell only two tissues apart: white matter and "
        "CSF; grey matter decays too much like white matter on one shell."
    )


def estimate_responses(
    dwi: Float[np.ndarray, "x y z volume"],
    gradients: GradientTable,
    shells: Shells,
    mask: Bool[np.ndarray, "x y z"],
    *,
    lmax: int = 8,
) -> ResponseEstimate:
    """Estimate one zonal response per tissue and shell.

    Parameters
    ----------
    dwi
        Diffusion data, scanner units.
    gradients
        One row per volume, any frame.
    shells
        Shell of each volume.
    mask
        Brain.
    lmax
        Highest degree of the white matter response, even. The fit pools many fibre directions, so
        that even a shell of few gradient directions supports it.

    Returns
    -------
    ResponseEstimate
        For the tissues of :func:`tissues_for_protocol`.

    Raises
    ------
    ResponseError
        When no voxel of a tissue is found.
    """
    tissues, _ = tissues_for_protocol(shells)
    found = select_tissue_voxels(dwi, gradients, shells, mask)
    responses = {}
    for tissue in tissues:
        n_voxel = len(found.rows[tissue])
        if n_voxel < FEW_VOXELS:
            LOGGER.warning(
                "The %s response rests on %d voxels only; compare it with one from a larger field "
                "of view (--response).",
                tissue,
                n_voxel,
            )
        coefficients = _average(found, tissue, shells)
        if tissue == "WM":
            coefficients = _fit_white_matter(found, gradients, shells, lmax, coefficients)
        responses[tissue] = Response(tissue, shells.bvals.astype(float), coefficients)
    _check_csf(responses["CSF"])
    return ResponseEstimate(responses, {t: found.image(t) for t in tissues}, METHOD)


def _average(found: TissueVoxels, tissue: str, shells: Shells) -> np.ndarray:
    signal = found.signal[found.rows[tissue]].astype(np.float64)
    means = [signal[:, shells.volumes(shell)].mean() for shell in range(shells.n_shell)]
    return _ISOTROPIC * np.array(means)[:, None]  # (shell, 1)


def _fit_white_matter(
    found: TissueVoxels,
    gradients: GradientTable,
    shells: Shells,
    lmax: int,
    isotropic: np.ndarray,
) -> np.ndarray:
    coefficients = np.zeros((shells.n_shell, lmax // 2 + 1))
    coefficients[0, 0] = isotropic[0, 0]
    rows = found.rows["WM"]
    for shell in range(1, shells.n_shell):
        volumes = shells.volumes(shell)
        cosine = found.direction[rows] @ gradients.bvecs_ras[volumes].T
        coefficients[shell] = fit_zonal(found.signal[rows][:, volumes], cosine, lmax)
    return coefficients


def _check_csf(response: Response) -> None:
    signals = [response.isotropic_signal(shell) for shell in (0, 1)]
    diffusivity = np.log(signals[0] / signals[1]) / response.bvals[1]
    if diffusivity < _FREE_WATER_FLOOR:
        LOGGER.warning(
            "The CSF response decays with %.1e mm²/s; free water has 3.0e-03. There may be no "
            "voxel of pure CSF in the mask: CSF fractions will be too large.",
            diffusivity,
        )
