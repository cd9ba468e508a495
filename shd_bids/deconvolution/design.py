"""What the responses make of fibres and tissues: a signal that is linear in both."""

import numpy as np
from jaxtyping import Float

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.shells import Shells
from shd_bids.errors import ResponseError
from shd_bids.response.io import Response
from shd_bids.sphere.harmonics import degrees_of_coefficients, sh_basis


def require_response(responses: dict[str, Response], tissue: str, model: str) -> Response:
    """Give the response of a tissue that the model cannot do without.

    Raises
    ------
    ResponseError
        When it is not among ``responses``.
    """
    if tissue not in responses:
        raise ResponseError(
            f"{model} needs a {tissue} response, but only {', '.join(responses) or 'none'} was "
            "given. Add it with --response, or leave --response out."
        )
    return responses[tissue]


def build_design(
    gradients: GradientTable, shells: Shells, tissues: list[Response], lmax: int, unit: float
) -> Float[np.ndarray, "volume coef"]:
    """Map fODF coefficients and isotropic tissues, in that order, to the signal.

    Parameters
    ----------
    gradients
        One row per volume, world axes.
    shells
        Shell of each volume.
    tissues
        White matter first, then the isotropic ones.
    lmax
        Degree of the fODF, even.
    unit
        What the signal is divided by, scanner units.
    """
    degrees = degrees_of_coefficients(lmax)
    zonal = tissues[0].to_lmax(lmax)[:, degrees // 2] * np.sqrt(4 * np.pi / (2 * degrees + 1))
    white = sh_basis(gradients.bvecs_ras, lmax) * zonal[shells.index]
    rest = [tissue.coefficients[shells.index, :1] for tissue in tissues[1:]]
    return np.concatenate([white, *rest], axis=1) / unit
