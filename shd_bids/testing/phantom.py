"""A small brain with known fibres, scanned with any scheme and affine.

``python -m shd_bids.testing.phantom BIDS_DIR`` writes it as a BIDS dataset with its truth.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from .geometry import (
    ASSOCIATION_INTRA_FRACTION,
    BUNDLES,
    FIELD_OF_VIEW_MM,
    TISSUES,
    sample_anatomy,
)
from .kernels import DIFFUSIVITY, S0, add_rician_noise, fibre_signal, true_responses
from .scheme import MULTI_SHELL, SINGLE_SHELL, make_scheme

_N_FIBRE = 4  # the most fibre populations that a voxel holds
_LEAST_SHARE = 0.03  # smaller populations join the others
_N_SUBSAMPLE = 2  # along each axis of a voxel


@dataclass(frozen=True)
class Truth:
    """What the phantom is made of, voxel by voxel."""

    directions: Float[np.ndarray, "x y z fibre 3"]  # RAS unit vectors, zero where no fibre
    fractions: Float[np.ndarray, "x y z fibre"]  # of the voxel's volume, largest first
    tissue: Float[np.ndarray, "x y z 3"]  # WM, GM, CSF; sums to 1 in the mask


@dataclass(frozen=True)
class Phantom:
    """A scan and the truth behind it."""

    dwi: Float[np.ndarray, "x y z volume"]
    bvals: Float[np.ndarray, " volume"]
    bvecs_ras: Float[np.ndarray, "volume 3"]
    affine: Float[np.ndarray, "4 4"]
    mask: Bool[np.ndarray, "x y z"]
    truth: Truth
    shell_bvals: Float[np.ndarray, " shell"]
    responses: dict[str, Float[np.ndarray, "shell degree"]]  # MRtrix3's convention
    sigma: float  # of the noise, scanner units


def make_affine(
    shape: tuple[int, int, int], voxel_size_mm: float, orientation: str = "oblique"
) -> Float[np.ndarray, "4 4"]:
    """Make an affine that puts the middle of the grid near the scanner's centre.

    Parameters
    ----------
    orientation
        ``"RAS"``, ``"LAS"``, ``"LPS"`` or ``"oblique"``: LAS turned about two axes by 14 and
        9 degrees, as most scanners deliver.
    """
    signs = {"RAS": (1, 1, 1), "LAS": (-1, 1, 1), "LPS": (-1, -1, 1), "oblique": (-1, 1, 1)}
    rotation = np.diag(np.array(signs[orientation], dtype=float))
    if orientation == "oblique":
        (sin_x, sin_z), (cos_x, cos_z) = np.sin([0.244, 0.157]), np.cos([0.244, 0.157])
        about_x = np.array([[1, 0, 0], [0, cos_x, -sin_x], [0, sin_x, cos_x]])
        about_z = np.array([[cos_z, -sin_z, 0], [sin_z, cos_z, 0], [0, 0, 1]])
        rotation = about_x @ about_z @ rotation
    affine = np.eye(4)
    affine[:3, :3] = rotation * voxel_size_mm
    affine[:3, 3] = [1.0, -12.0, 18.0] - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def make_phantom(
    shape: tuple[int, int, int] = (36, 36, 28),
    voxel_size_mm: float = 2.0,
    *,
    shells: Mapping[int, int] = MULTI_SHELL,
    snr: float = 30.0,
    seed: int = 1,
    affine: Float[np.ndarray, "4 4"] | None = None,
) -> Phantom:
    """Scan the phantom brain.

    The anatomy shrinks or grows with the field of view; its fibres cross at 30 to 90 degrees, some
    three at a time, and every boundary has partial volume.

    Parameters
    ----------
    shells
        Number of volumes for each b-value in s/mm².
    snr
        Of white matter at b=0; noise is Rician. ``inf`` gives none.
    affine
        Voxel to RAS mm; oblique by default.
    """
    affine = make_affine(shape, voxel_size_mm) if affine is None else affine
    truth, intra_fractions = _sample_truth(shape, affine)
    bvals, bvecs_ras = make_scheme(shells, seed=seed)
    sigma = S0["WM"] / snr
    signal = _predict_signal(truth, intra_fractions, bvals, bvecs_ras)
    dwi = add_rician_noise(signal, sigma, np.random.default_rng(seed))
    shell_bvals = np.unique(bvals)
    return Phantom(
        dwi=dwi.astype(np.float32),
        bvals=bvals,
        bvecs_ras=bvecs_ras,
        affine=affine,
        mask=truth.tissue.sum(axis=-1) > 0.5,
        truth=truth,
        shell_bvals=shell_bvals,
        responses=true_responses(shell_bvals),
        sigma=sigma,
    )


def make_single_shell_phantom(
    shape: tuple[int, int, int] = (36, 36, 28), voxel_size_mm: float = 2.0, **options: float
) -> Phantom:
    """Scan the phantom with 32 directions at b=1000, the scheme of many clinical studies."""
    return make_phantom(shape, voxel_size_mm, shells=SINGLE_SHELL, **options)


def _sample_truth(
    shape: tuple[int, int, int], affine: np.ndarray
) -> tuple[Truth, Float[np.ndarray, "x y z fibre"]]:
    """Average the anatomy over each voxel, and keep the largest fibre populations."""
    extent_mm = np.linalg.norm(affine[:3, :3], axis=0) * shape
    scale = np.min(extent_mm / FIELD_OF_VIEW_MM)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    centred_vox = grid - (np.array(shape) - 1) / 2
    steps = (np.arange(_N_SUBSAMPLE) + 0.5) / _N_SUBSAMPLE - 0.5
    tissue, volume, vector = 0.0, 0.0, 0.0
    for offset in np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3):
        sample = sample_anatomy((centred_vox + offset) @ affine[:3, :3].T / scale)
        weight = sample.tissue[:, :1] * sample.share / _N_SUBSAMPLE**3
        tissue = tissue + sample.tissue / _N_SUBSAMPLE**3
        volume = volume + weight
        vector = vector + weight[..., None] * sample.direction
    intra = np.array([bundle.intra_fraction for bundle in BUNDLES] + [ASSOCIATION_INTRA_FRACTION])

    tissue = np.where(tissue.sum(axis=1, keepdims=True) > 0.5, tissue, 0.0)
    tissue /= np.maximum(tissue.sum(axis=1, keepdims=True), 1e-9)
    order = np.argsort(-volume, axis=1)[:, :_N_FIBRE]
    share = np.take_along_axis(volume, order, axis=1)
    share = np.where(share >= _LEAST_SHARE * volume.sum(axis=1, keepdims=True), share, 0.0)
    share /= np.maximum(share.sum(axis=1, keepdims=True), 1e-9)
    fractions = share * tissue[:, :1]
    directions = np.take_along_axis(vector, order[..., None], axis=1)
    directions /= np.maximum(np.linalg.norm(directions, axis=-1, keepdims=True), 1e-9)
    directions = np.where(fractions[..., None] > 0, directions, 0.0)
    truth = Truth(
        directions.reshape(*shape, _N_FIBRE, 3),
        fractions.reshape(*shape, _N_FIBRE),
        tissue.reshape(*shape, len(TISSUES)),
    )
    return truth, intra[order].reshape(*shape, _N_FIBRE)


def _predict_signal(
    truth: Truth, intra_fractions: np.ndarray, bvals: np.ndarray, bvecs_ras: np.ndarray
) -> Float[np.ndarray, "x y z volume"]:
    """Add up what the fibres, grey matter and fluid of each voxel give."""
    signal = np.zeros((*truth.tissue.shape[:3], len(bvals)))
    for index, name in enumerate(TISSUES[1:], start=1):
        decay = S0[name] * np.exp(-DIFFUSIVITY[name] * bvals)
        signal += truth.tissue[..., index, None] * decay
    for fibre in range(truth.fractions.shape[-1]):
        there = truth.fractions[..., fibre] > 0
        cosines = truth.directions[there, fibre] @ bvecs_ras.T  # (voxel, volume)
        attenuation = fibre_signal(bvals, cosines, intra_fractions[there, fibre, None])
        signal[there] += S0["WM"] * truth.fractions[there, fibre, None] * attenuation
    return signal
