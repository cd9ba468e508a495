"""Robust and unbiased model-based spherical deconvolution, voxel by voxel or with total variation.

The iteration is DIPY's (Canales-Rodriguez et al., 2015, https://doi.org/10.1371/journal.pone.0138910),
with its default settings: Rician noise ("smf"), 600 steps. DIPY's ``RumbaSDModel`` takes tensors
for responses; its deconvolution takes any table of signals, so ours comes from the responses
themselves, all shells of them, and no tensor is fitted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product

import numpy as np
from dipy.core.sphere import HemiSphere
from dipy.data import get_sphere
from dipy.reconst.rumba import rumba_deconv_global
from jaxtyping import Bool, Float
from joblib import Parallel, delayed, parallel_config
from numpy.polynomial import legendre

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.shells import Shells
from shd_bids.response.io import Response
from shd_bids.sphere.harmonics import degrees_of_coefficients, sh_basis

from .design import build_design, require_response
from .solution import UNIT_COEFFICIENT, FodfSolution
from .voxelwise import fit_voxelwise, make_solution

# 181 directions, 11 degrees apart: on the phantom the same errors, false and missed fibres as with
# the 362 that are half of RUMBA's default, at half of the time and memory.
_DIRECTIONS = HemiSphere.from_sphere(get_sphere(name="symmetric362")).vertices

# With total variation every voxel depends on its neighbours, and DIPY holds some twenty arrays of
# 32-bit floats, a value per direction, for every voxel: many GB for a whole brain at once. Blocks
# of up to 32 voxels to a side, with 4 more all around that are fitted but not kept, bound that
# whatever the size of the brain, and the seams do not show.
_BLOCK = 32
_HALO = 4

Box = tuple[slice, ...]


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
        Number of processes.

    Returns
    -------
    FodfSolution
        With the tissues of ``responses``; fODF amplitudes and tissues are not negative.
    """
    isotropic = [tissue for tissue in ("GM", "CSF") if tissue in responses]
    model = _RumbaModel.build(gradients, shells, responses, lmax, name="rumba")
    unit = np.float32(responses["WM"].isotropic_signal(0))
    if not total_variation:
        signal = dwi[mask].astype(np.float32) / unit
        found = fit_voxelwise(partial(_fit_chunk, model), signal, n_threads=n_threads)
        return make_solution("rumba", mask, *found, isotropic=isotropic)

    blocks = list(_split_into_blocks(mask))
    with parallel_config(backend="loky", inner_max_num_threads=1):
        parts = Parallel(n_jobs=n_threads)(
            delayed(_fit_block)(model, dwi[whole].astype(np.float32) / unit, mask[whole], core)
            for whole, core in blocks
        )
    order = np.zeros(mask.shape, dtype=np.int64)
    order[mask] = np.arange(mask.sum())
    coefficients = np.zeros((mask.sum(), model.to_coefficients.shape[1]), dtype=np.float32)
    rmse = np.zeros(mask.sum(), dtype=np.float32)
    for (whole, core), (part, part_rmse) in zip(blocks, parts, strict=True):
        rows = order[whole][core][mask[whole][core]]
        coefficients[rows], rmse[rows] = part, part_rmse
    return make_solution("rumbatv", mask, coefficients, rmse, isotropic)


@dataclass(frozen=True)
class _RumbaModel:
    """Signals of the compartments, in DIPY's order: directions, GM, CSF.

    Attributes
    ----------
    kernel
        Signal of each compartment over its own b=0. A tissue without response gives none.
    is_b0
        Which volumes are b=0.
    to_coefficients
        From signal fractions times the voxel's b=0 to fODF and tissue coefficients.
    """

    kernel: Float[np.ndarray, "volume compartment"]
    is_b0: Bool[np.ndarray, " volume"]
    to_coefficients: Float[np.ndarray, "compartment coef"]

    @classmethod
    def build(
        cls,
        gradients: GradientTable,
        shells: Shells,
        responses: dict[str, Response],
        lmax: int,
        *,
        name: str,
    ) -> "_RumbaModel":
        white = require_response(responses, "WM", name)
        unit = white.isotropic_signal(0)
        zonal = build_design(gradients, shells, [white], white.lmax, unit)
        n_direction = len(_DIRECTIONS)
        kernel = np.zeros((len(shells.index), n_direction + 2))
        kernel[:, :n_direction] = zonal @ sh_basis(_DIRECTIONS, white.lmax).T
        lobes = sh_basis(_DIRECTIONS, lmax) * _narrowest_lobe(lmax)
        columns = [np.pad(lobes, ((0, 2), (0, 0)))]
        for i, tissue in enumerate(("GM", "CSF"), start=n_direction):
            if tissue in responses:
                signal = responses[tissue].coefficients[:, 0]
                kernel[:, i] = (signal / signal[0])[shells.index]
                columns.append(np.zeros((n_direction + 2, 1)))
                columns[-1][i] = UNIT_COEFFICIENT * white.coefficients[0, 0] / signal[0]
        # The iteration cannot take the slight undershoot of a response that is cut at its degree.
        return cls(kernel.clip(0.0), shells.index == 0, np.concatenate(columns, axis=1))

    def fit(
        self, signal: np.ndarray, mask: np.ndarray, *, total_variation: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fit a box of voxels; give coefficients and predicted signal of those in the mask."""
        b0 = signal[..., self.is_b0].mean(axis=-1, keepdims=True).clip(0.0)
        attenuation = np.divide(
            signal[..., ~self.is_b0], b0, out=np.zeros_like(signal[..., ~self.is_b0]), where=b0 > 0
        )
        data = np.concatenate([np.ones_like(b0), attenuation], axis=-1).clip(0.0, 1.0)
        dwi_kernel = self.kernel[~self.is_b0]
        kernel = np.concatenate([self.kernel[self.is_b0][:1], dwi_kernel])
        fractions = rumba_deconv_global(
            data.astype(np.float32), kernel.astype(np.float32), mask, use_tv=total_variation
        )[mask]
        amounts = fractions * b0[mask]
        return amounts @ self.to_coefficients, amounts @ self.kernel.T


def _fit_chunk(model: _RumbaModel, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    in_a_row = signal[:, None, None, :]
    mask = np.ones(in_a_row.shape[:3], dtype=bool)
    return model.fit(in_a_row, mask, total_variation=False)


def _fit_block(
    model: _RumbaModel, signal: np.ndarray, mask: np.ndarray, core: Box
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a block with total variation; give coefficients and residual of its core."""
    inner = _bounding_box(mask)
    box_signal, box_mask = signal[inner], mask[inner]
    for axis in range(3):  # DIPY needs a neighbour along each axis: a lone plane gets its double
        if box_mask.shape[axis] == 1:
            box_signal, box_mask = box_signal.repeat(2, axis), box_mask.repeat(2, axis)
    coefficients, predicted = model.fit(box_signal, box_mask, total_variation=True)
    residual = np.sqrt(((box_signal[box_mask] - predicted) ** 2).mean(axis=-1))

    in_core = np.zeros(mask.shape, dtype=bool)
    in_core[core] = mask[core]
    kept = np.zeros(box_mask.shape, dtype=bool)
    kept[tuple(slice(size) for size in in_core[inner].shape)] = in_core[inner]
    return coefficients[kept[box_mask]].astype(np.float32), residual[kept[box_mask]]


def _split_into_blocks(mask: np.ndarray) -> Iterator[tuple[Box, Box]]:
    """Give blocks with their halo, and the core of each within it; together they hold the mask."""
    edges = []
    for side in _bounding_box(mask):
        n_block = -(-(side.stop - side.start) // _BLOCK)
        edges.append(np.linspace(side.start, side.stop, n_block + 1).round().astype(int).tolist())
    for ends in product(*(pairwise(edge) for edge in edges)):
        if mask[tuple(slice(*end) for end in ends)].any():
            starts = [max(first - _HALO, 0) for first, _ in ends]
            whole = tuple(
                slice(start, last + _HALO) for start, (_, last) in zip(starts, ends, strict=True)
            )
            core = tuple(
                slice(first - start, last - start)
                for start, (first, last) in zip(starts, ends, strict=True)
            )
            yield whole, core


def _bounding_box(mask: np.ndarray) -> Box:
    """Give the smallest box that holds the mask."""
    inside = [np.flatnonzero(mask.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
    return tuple(slice(int(where[0]), int(where[-1]) + 1) for where in inside)


def _narrowest_lobe(lmax: int) -> np.ndarray:
    """Give the factor of each coefficient that turns a direction into a lobe.

    The lobe is the square of the direction cut off at degree ``lmax / 2``: it has the degree
    ``lmax``, no negative amplitude, and at degree 8 side lobes below 3 % of its peak, where a
    direction that is just cut off has 8 % above zero and 14 % below.
    """
    half = np.arange(lmax // 2 + 1)
    cut_off = (2 * half + 1) * ((half - lmax // 2) % 2 == 0)  # of one parity: an even square
    squared = legendre.legmul(cut_off, cut_off)
    factors = squared / squared[0] / (2 * np.arange(lmax + 1) + 1)
    return factors[degrees_of_coefficients(lmax)]
