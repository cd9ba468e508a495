"""Robust and unbiased model-based spherical deconvolution, voxel by voxel or with total variation.

The method of Canales-Rodriguez et al. (2015, https://doi.org/10.1371/journal.pone.0138910) as DIPY
does it, with DIPY's settings: Rician noise ("smf"), 600 steps. DIPY's ``RumbaSDModel`` takes
tensors for responses, but the deconvolution below it takes any table of signals. Ours comes from
the responses themselves, from all of their shells and degrees; no tensor is fitted.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from dipy.core.sphere import HemiSphere
from dipy.data import get_sphere
from dipy.reconst.rumba import rumba_deconv_global
from jaxtyping import Bool, Float
from numpy.polynomial import legendre

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.shells import Shells
from shd_bids.response.io import Response
from shd_bids.sphere.harmonics import degrees_of_coefficients, sh_basis

from .design import build_design, require_response
from .rumba_tv import deconvolve_with_tv
from .solution import UNIT_COEFFICIENT, FodfSolution
from .voxelwise import fit_voxelwise, make_solution

# 181 directions, 11 degrees apart: on the phantom the same errors, false and missed fibres as with
# the 362 that are half of RUMBA's default, at half of the time and memory.
_DIRECTIONS = HemiSphere.from_sphere(get_sphere(name="symmetric362")).vertices


def fit_rumba(
    dwi: Float[np.ndarray, "x y z volume"],
    gradients: GradientTable,
    shells: Shells,
    mask: Bool[np.ndarray, "x y z"],
    responses: dict[str, Response],
    *,
    lmax: int = 8,
    total_variation: bool = False,
    n_threads: int = 1,
) -> FodfSolution:
    """Deconvolve all shells by maximum likelihood under Rician noise.

    RUMBA divides a voxel by its own b=0 signal and gives signal fractions that sum to 1; both are
    undone here, so that the scale is that of the responses. Its fODF is a weight for each of 181
    directions. Cut off at ``lmax``, such weights would have side lobes that pass for fibres, so
    every direction becomes the narrowest lobe of degree ``lmax`` that is nowhere negative.

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
        ``WM`` and any of ``GM`` and ``CSF``.
    lmax
        Degree of the fODF, even.
    total_variation
        Also ask for few changes between neighbours. Its strength follows from the noise that is
        found. Neighbours count alike along all axes, whatever the size of a voxel.
    n_threads
        Number of processes, or of threads with total variation.

    Returns
    -------
    FodfSolution
        With the tissues of ``responses``; fODF amplitudes and tissues are not negative.
    """
    require_response(responses, "WM", "rumba")
    isotropic = [tissue for tissue in ("GM", "CSF") if tissue in responses]
    model = _RumbaModel.build(gradients, shells, responses, lmax)
    signal = dwi[mask].astype(np.float32) / np.float32(responses["WM"].isotropic_signal(0))
    if not total_variation:
        found = fit_voxelwise(partial(_fit_chunk, model), signal, n_threads=n_threads)
        return make_solution("rumba", mask, *found, isotropic, model.lobe)
    b0, data = model.divide_by_b0(signal)
    fractions = deconvolve_with_tv(data, model.fitted_kernel, mask, n_threads=n_threads)
    coefficients, predicted = model.explain(fractions, b0)
    rmse = np.sqrt(((signal - predicted) ** 2).mean(axis=1))
    return make_solution("rumbatv", mask, coefficients, rmse, isotropic, model.lobe)


@dataclass(frozen=True)
class _RumbaModel:
    """Compartments, in DIPY's order: directions, GM, CSF.

    Attributes
    ----------
    is_b0
        Which volumes are b=0.
    kernel
        Signal of each compartment over its own b=0. A tissue without response gives none.
    to_coefficients
        From signal fractions times the voxel's b=0 to fODF and tissue coefficients.
    lobe
        What each direction becomes, as ``fibre_lobe`` of ``FodfSolution``.
    """

    is_b0: Bool[np.ndarray, " volume"]
    kernel: Float[np.ndarray, "volume compartment"]
    to_coefficients: Float[np.ndarray, "compartment coef"]
    lobe: tuple[float, ...]

    @classmethod
    def build(
        cls,
        gradients: GradientTable,
        shells: Shells,
        responses: dict[str, Response],
        lmax: int,
    ) -> "_RumbaModel":
        white = responses["WM"]
        zonal = build_design(gradients, shells, [white], white.lmax, white.isotropic_signal(0))
        n_direction = len(_DIRECTIONS)
        kernel = np.zeros((len(shells.index), n_direction + 2))
        kernel[:, :n_direction] = zonal @ sh_basis(_DIRECTIONS, white.lmax).T
        lobe = _narrowest_lobe(lmax)
        lobes = sh_basis(_DIRECTIONS, lmax) * lobe[degrees_of_coefficients(lmax) // 2]
        columns = [np.pad(lobes, ((0, 2), (0, 0)))]
        for i, tissue in enumerate(("GM", "CSF"), start=n_direction):
            if tissue in responses:
                signal = responses[tissue].coefficients[:, 0]
                kernel[:, i] = (signal / signal[0])[shells.index]
                columns.append(np.zeros((n_direction + 2, 1)))
                columns[-1][i] = UNIT_COEFFICIENT * white.coefficients[0, 0] / signal[0]
        return cls(
            shells.index == 0,
            # A response cut off at its degree may fall below zero, which the iteration cannot take.
            kernel.clip(0.0).astype(np.float32),
            np.concatenate(columns, axis=1).astype(np.float32),
            tuple(lobe.tolist()),
        )

    @property
    def fitted_kernel(self) -> np.ndarray:
        """Kernel for one b=0 and the other volumes, as `divide_by_b0` orders them."""
        return np.concatenate([self.kernel[self.is_b0][:1], self.kernel[~self.is_b0]])

    def divide_by_b0(self, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give the b=0 of each voxel, and as DIPY: a 1 for it, and the rest between 0 and 1."""
        b0 = signal[:, self.is_b0].mean(axis=1, keepdims=True).clip(0.0)
        weighted = signal[:, ~self.is_b0]
        ratio = np.divide(weighted, b0, out=np.zeros_like(weighted), where=b0 > 0)
        data = np.concatenate([np.ones_like(b0), ratio.clip(0.0, 1.0)], axis=1)
        return b0, data.astype(np.float32)

    def explain(self, fractions: np.ndarray, b0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give the coefficients and the signal that they predict."""
        amounts = fractions * b0
        return amounts @ self.to_coefficients, amounts @ self.kernel.T


def _fit_chunk(model: _RumbaModel, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    b0, data = model.divide_by_b0(signal)
    row = data[:, None, None, :]
    mask = np.ones(row.shape[:3], dtype=bool)
    fractions = rumba_deconv_global(row, model.fitted_kernel, mask, use_tv=False)
    return model.explain(fractions[:, 0, 0], b0)


def _narrowest_lobe(lmax: int) -> Float[np.ndarray, " degree"]:
    """Give the factor of each even degree that turns a direction into a lobe.

    The lobe is the square of the direction cut off at degree ``lmax / 2``: it has the degree
    ``lmax``, no negative amplitude, and at degree 8 side lobes below 3 % of its peak, where a
    direction that is just cut off has 8 % above zero and 14 % below.
    """
    half = np.arange(lmax // 2 + 1)
    cut_off = (2 * half + 1) * ((half - lmax // 2) % 2 == 0)  # of one parity: an even square
    squared = legendre.legmul(cut_off, cut_off)
    return (squared / squared[0] / (2 * np.arange(lmax + 1) + 1))[::2]
