"""Constrained spherical deconvolution, beside which SHD-TV is judged.

CSD is DIPY's. MSMT-CSD is the same quadratic program as DIPY's ``MultiShellDeconvModel``
(Jeurissen et al., 2014), with our own exact solver: DIPY 1.12 hands every voxel to a first-order
solver (about 25 voxels/s on one core), which stops while degrees 6 and 8 are still 20 to 30 % too
small, and it refuses two-tissue data.
"""

import logging
import warnings
from functools import partial

import numpy as np
from dipy.core.gradients import gradient_table
from dipy.data import default_sphere
from dipy.reconst.csdeconv import AxSymShResponse, ConstrainedSphericalDeconvModel
from dipy.reconst.shm import convert_sh_descoteaux_tournier
from jaxtyping import Bool, Float

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.shells import Shells
from shd_bids.errors import ResponseError
from shd_bids.response.cone import ConeSolver
from shd_bids.response.io import Response
from shd_bids.sphere.harmonics import count_coefficients, largest_degree, sh_basis

from .design import build_design, require_response
from .solution import FodfSolution
from .voxelwise import fit_voxelwise, make_solution

LOGGER = logging.getLogger(__name__)


def fit_csd(
    dwi: Float[np.ndarray, "x y z volume"],
    gradients: GradientTable,
    shells: Shells,
    mask: Bool[np.ndarray, "x y z"],
    responses: dict[str, Response],
    *,
    lmax: int = 8,
    n_threads: int = 1,
) -> FodfSolution:
    """Deconvolve the highest shell with the white matter response (Tournier et al., 2007).

    Directions count as negative below zero, as in MRtrix3, not below a tenth of the mean, as is
    DIPY's default: on the phantom that gives the same angular error and fewer false peaks.

    Parameters
    ----------
    dwi
        Diffusion data, scanner units.
    gradients
        One row per volume, world axes.
    shells
        Shell of each volume; only the highest is used.
    mask
        Voxels to fit.
    responses
        Must hold ``WM``; other tissues are not used.
    lmax
        Degree of the fODF, even. The fit stops one degree above what the shell's directions
        determine, and higher coefficients are zero.
    n_threads
        Number of processes.

    Returns
    -------
    FodfSolution
        White matter only.
    """
    white = require_response(responses, "WM", "csd")
    unit = white.isotropic_signal(0)
    top = shells.n_shell - 1
    volumes = shells.volumes(top)
    # Positivity determines about one degree more than the directions do (Tournier et al., 2007).
    fitted_lmax = min(lmax, largest_degree(len(volumes), lmax) + 2)
    if fitted_lmax < lmax:
        LOGGER.warning(
            "CSD is fitted to degree %d, not %d: b=%.0f has %d directions.",
            fitted_lmax,
            lmax,
            shells.bvals[top],
            len(volumes),
        )
    bvals = np.append(0.0, np.full(len(volumes), shells.bvals[top]))
    bvecs = np.vstack([np.zeros(3), gradients.bvecs_ras[volumes]])
    table = gradient_table(bvals, bvecs=bvecs, b0_threshold=0)
    kernel = AxSymShResponse(unit, white.to_lmax(fitted_lmax)[top] / unit)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Number of parameters required", UserWarning)
        warnings.filterwarnings("ignore", "The legacy descoteaux07 SH basis")
        model = ConstrainedSphericalDeconvModel(
            table, kernel, sh_order_max=fitted_lmax, reg_sphere=default_sphere, tau=0.0
        )

    design = build_design(gradients, shells, [white], lmax, unit)
    fit_chunk = partial(_deconvolve_shell, model, volumes, design)
    signal = dwi[mask].astype(np.float32) / np.float32(unit)
    found = fit_voxelwise(fit_chunk, signal, n_threads=n_threads)
    return make_solution("csd", mask, *found, isotropic=[])


def fit_msmt_csd(
    dwi: Float[np.ndarray, "x y z volume"],
    gradients: GradientTable,
    shells: Shells,
    mask: Bool[np.ndarray, "x y z"],
    responses: dict[str, Response],
    *,
    lmax: int = 8,
    n_threads: int = 1,
) -> FodfSolution:
    """Deconvolve all shells into white matter and isotropic tissues (Jeurissen et al., 2014).

    Parameters
    ----------
    dwi
        Diffusion data, scanner units.
    gradients
        One row per volume, world axes.
    shells
        Shell of each volume.
    mask
        Voxels to fit.
    responses
        ``WM`` and at least one of ``GM`` and ``CSF``; as many tissues as shells at most.
    lmax
        Degree of the white matter fODF, even.
    n_threads
        Number of processes.

    Returns
    -------
    FodfSolution
        With the tissues of ``responses``; fODF amplitudes and tissues are not negative.
    """
    white = require_response(responses, "WM", "msmt-csd")
    isotropic = [responses[tissue] for tissue in ("GM", "CSF") if tissue in responses]
    if not isotropic or 1 + len(isotropic) > shells.n_shell:
        raise ResponseError(
            f"msmt-csd was given {1 + len(isotropic)} tissues for {shells.n_shell} shells; it "
            "needs WM and at least one of GM and CSF, and no more tissues than shells (b=0 "
            "included). Use --fod-model csd, or give fitting responses with --response."
        )
    unit = white.isotropic_signal(0)
    tissues = [white, *isotropic]
    design = build_design(gradients, shells, tissues, lmax, unit)
    n_coef = count_coefficients(lmax)
    amplitudes = np.zeros((len(default_sphere.vertices) + len(isotropic), design.shape[1]))
    amplitudes[: -len(isotropic), :n_coef] = sh_basis(default_sphere.vertices, lmax)
    amplitudes[-len(isotropic) :, n_coef:] = np.eye(len(isotropic))
    solver = ConeSolver.build(design.T @ design, amplitudes)

    fit_chunk = partial(_deconvolve_shells, solver, design)
    signal = dwi[mask].astype(np.float32) / np.float32(unit)
    found = fit_voxelwise(fit_chunk, signal, n_threads=n_threads)
    return make_solution("msmtcsd", mask, *found, isotropic=[tissue.tissue for tissue in isotropic])


def _deconvolve_shell(
    model: ConstrainedSphericalDeconvModel,
    volumes: np.ndarray,
    design: np.ndarray,
    signal: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    with_b0 = np.insert(signal[:, volumes], 0, 1.0, axis=1)  # a column that DIPY skips
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "maximum number of iterations exceeded", UserWarning)
        warnings.filterwarnings("ignore", "The legacy descoteaux07 SH basis")
        fitted = convert_sh_descoteaux_tournier(model.fit(with_b0).shm_coeff)
    padded = np.pad(fitted, ((0, 0), (0, design.shape[1] - fitted.shape[1])))
    return padded, np.nan_to_num(padded) @ design.T


def _deconvolve_shells(
    solver: ConeSolver, design: np.ndarray, signal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    coefficients = solver.solve(signal @ design)
    return coefficients, np.nan_to_num(coefficients) @ design.T
