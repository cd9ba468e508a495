"""The signal that an fODF and isotropic tissues give: fixed physics.

The signal of a shell is the spherical convolution of the fODF with the response: in SH, degree by
degree, ``s_lm = sqrt(4 pi / (2 l + 1)) r_l f_lm`` (Tournier et al. 2007,
https://doi.org/10.1016/j.neuroimage.2007.02.016). Signals are divided by the b=0 signal of the
white matter response, so that white matter has b=0 signal 1.

The fODF of one fibre is not taken as a delta function, which rings where it is cut off at a degree:
where fibres cross, its side lobes add up to what passes for another, and a network that must not
make them spreads the peaks instead. It is taken as a lobe (``lobe_by_degree``) whose side lobes are
half as large, as is usual where fODFs are turned (Raffelt et al. 2012,
https://doi.org/10.1002/mrm.23058), and the response ``r_l`` as that of the lobe.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.shells import Shells
from shd_bids.errors import ResponseError
from shd_bids.response.io import Response
from shd_bids.sphere.harmonics import (
    count_coefficients,
    degrees_of_coefficients,
    fit_matrix,
    largest_degree,
    sh_basis,
)

#: What the lobe of a fibre has of a delta function at the highest degree.
_LOBE_END = 0.5
#: Laplace-Beltrami weight when a shell is interpolated (Descoteaux et al. 2007).
_INTERPOLATION_RIDGE = 0.006


def lobe_by_degree(lmax: int) -> Float[np.ndarray, " degree"]:
    """Give the share of a delta function's coefficients in the fODF of one fibre.

    A Gaussian on the sphere: ``exp(-t l (l + 1))`` at even degrees, one half at degree ``lmax``.

    Examples
    --------
    >>> lobe_by_degree(4).round(3)
    array([1.   , 0.812, 0.5  ])
    """
    degrees = np.arange(0, lmax + 1, 2)
    return _LOBE_END ** (degrees * (degrees + 1) / max(lmax * (lmax + 1), 1))


def fibre_lobe(lmax: int) -> Float[np.ndarray, " coef"]:
    """Give ``lobe_by_degree`` for every coefficient.

    Examples
    --------
    >>> fibre_lobe(2).round(3)
    array([1. , 0.5, 0.5, 0.5, 0.5, 0.5])
    """
    return lobe_by_degree(lmax)[degrees_of_coefficients(lmax) // 2]


@dataclass(frozen=True)
class SignalModel:
    """Maps tissue coefficients to the measured volumes.

    Attributes
    ----------
    tissues
        ``("WM", ...)``: white matter first, then the isotropic tissues.
    kernel
        One row per volume: first the white matter coefficients, then one column per isotropic
        tissue, so that ``kernel @ concatenate([fodf_sh, tissue coefficients])`` is the signal.
    scale
        The b=0 signal of the white matter response in scanner units.
    shell_index
        The shell of each volume; shell 0 is b=0.
    bvecs_ras
        Unit vectors, zero where b=0.
    """

    tissues: tuple[str, ...]
    kernel: Float[np.ndarray, "volume unknown"]
    scale: float
    shell_index: np.ndarray
    bvecs_ras: Float[np.ndarray, "volume 3"]
    lmax: int

    @property
    def n_coef(self) -> int:
        """Coefficients of the fODF."""
        return count_coefficients(self.lmax)

    @property
    def n_shell(self) -> int:
        """Shells, b=0 included."""
        return int(self.shell_index.max()) + 1


def build_signal_model(
    gradients: GradientTable, shells: Shells, responses: Mapping[str, Response], lmax: int
) -> SignalModel:
    """Assemble the model of an acquisition.

    Parameters
    ----------
    gradients, shells
        The acquisition.
    responses
        ``WM`` and any of ``GM``, ``CSF``.
    lmax
        Degree of the fODF.

    Raises
    ------
    ResponseError
        If there is no white matter response or a response does not have one row per shell.
    """
    if "WM" not in responses:
        raise ResponseError(
            f"A white matter response is needed, found {sorted(responses)}. "
            "Give --response WM=FILE."
        )
    for tissue, response in responses.items():
        if len(response.coefficients) != shells.n_shell:
            raise ResponseError(
                f"The {tissue} response has {len(response.coefficients)} rows, but the data have "
                f"{shells.n_shell} shells (b = {np.round(shells.bvals).astype(int).tolist()}). "
                "Give one row per shell, b=0 first."
            )
    white = responses["WM"].coefficients
    scale = float(white[0, 0] / np.sqrt(4.0 * np.pi))
    if not scale > 0:
        raise ResponseError(f"The WM response has the b=0 signal {scale:.3g}; it must be positive.")
    degrees = degrees_of_coefficients(lmax)
    zonal = np.zeros((shells.n_shell, lmax // 2 + 1))
    n_degree = min(zonal.shape[1], white.shape[1])
    zonal[:, :n_degree] = white[:, :n_degree]
    gain = zonal[:, degrees // 2] * np.sqrt(4.0 * np.pi / (2.0 * degrees + 1.0))
    gain = gain / fibre_lobe(lmax)
    columns = [sh_basis(gradients.bvecs_ras, lmax) * gain[shells.index]]
    isotropic = tuple(name for name in ("GM", "CSF") if name in responses)
    for tissue in isotropic:
        columns.append(responses[tissue].coefficients[shells.index, :1])
    return SignalModel(
        tissues=("WM", *isotropic),
        kernel=np.concatenate(columns, axis=1) / scale,
        scale=scale,
        shell_index=np.asarray(shells.index),
        bvecs_ras=gradients.bvecs_ras,
        lmax=lmax,
    )


def shell_interpolation(
    model: SignalModel,
    vertices: Float[np.ndarray, "vertex 3"],
    lmax: int,
    seen: Bool[np.ndarray, " volume"],
) -> Float[np.ndarray, "vertex shell volume"]:
    """Give the matrices that interpolate each shell to the vertices through an SH fit.

    Only the volumes that are ``seen`` are used. The degree of the fit is limited by the number of
    directions of the shell; the b=0 volumes are averaged.
    """
    matrix = np.zeros((len(vertices), model.n_shell, len(model.kernel)))
    for shell in range(model.n_shell):
        volumes = np.flatnonzero((model.shell_index == shell) & seen)
        if shell == 0:
            matrix[:, shell, volumes] = 1.0 / len(volumes)
            continue
        degree = largest_degree(len(volumes), lmax)
        fit = fit_matrix(model.bvecs_ras[volumes], degree, ridge=_INTERPOLATION_RIDGE)
        matrix[:, shell, volumes] = sh_basis(vertices, degree) @ fit
    return matrix


def vertex_dictionary(
    model: SignalModel, vertices: Float[np.ndarray, "vertex 3"]
) -> Float[np.ndarray, "volume vertex_isotropic"]:
    """Give the signal of each vertex amplitude, then of each isotropic coefficient."""
    white = model.kernel[:, : model.n_coef] @ lobes_at(vertices, model.lmax)
    return np.concatenate([white, model.kernel[:, model.n_coef :]], axis=1)


def lobes_at(
    vertices: Float[np.ndarray, "vertex 3"], lmax: int
) -> Float[np.ndarray, "coef vertex"]:
    """Give the fODF of amplitudes at vertices, each of them a fibre's lobe."""
    return fibre_lobe(lmax)[:, None] * fit_matrix(vertices, lmax)
