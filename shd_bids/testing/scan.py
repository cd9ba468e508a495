"""Scanning the phantom brain: a small head with known fibres, any scheme and any affine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from shd_bids.sphere.rotations import random_rotation

from .geometry import BUNDLES, TISSUES, Bundle
from .kernels import DIFFUSIVITY, S0, add_rician_noise, fibre_signal, true_responses
from .scheme import MULTI_SHELL, SINGLE_SHELL, make_scheme
from .truth import Truth, sample_truth


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
    responses: dict[str, Float[np.ndarray, "shell _"]]  # MRtrix3's convention, (shell, degree)
    sigma: float  # of the noise, scanner units


def make_affine(
    shape: tuple[int, int, int], voxel_size_mm: float, orientation: str = "oblique"
) -> Float[np.ndarray, "4 4"]:
    """Make an affine that puts the middle of the grid near the scanner's centre.

    Parameters
    ----------
    orientation
        ``"RAS"``, ``"LAS"``, ``"LPS"`` or ``"oblique"``: LAS turned about two axes by 14 and
        9 degrees, much as scanners deliver.
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
    bundles: Sequence[Bundle] = BUNDLES,
    anatomy_seed: int | None = None,
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
    seed
        Of gradient directions and noise; the anatomy does not depend on it.
    affine
        Voxel to RAS mm; oblique by default.
    bundles
        Of the white matter.
    anatomy_seed
        Of a random rotation of the whole brain; by default it lies upright. A turned brain may
        need a cubic grid to stay whole.
    """
    affine = make_affine(shape, voxel_size_mm) if affine is None else affine
    rotation = None
    if anatomy_seed is not None:
        rotation = random_rotation(np.random.default_rng(anatomy_seed))
    truth, intra_fractions = sample_truth(shape, affine, bundles=bundles, rotation=rotation)
    return scan_truth(truth, intra_fractions, affine, shells=shells, snr=snr, seed=seed)


def scan_truth(
    truth: Truth,
    intra_fractions: Float[np.ndarray, "x y z fibre"],
    affine: Float[np.ndarray, "4 4"],
    *,
    shells: Mapping[int, int],
    snr: float,
    seed: int,
) -> Phantom:
    """Scan what is known voxel by voxel; the settings are those of :func:`make_phantom`."""
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
        mask=truth.mask,
        truth=truth,
        shell_bvals=shell_bvals,
        responses=true_responses(shell_bvals),
        sigma=sigma,
    )


def make_single_shell_phantom(
    shape: tuple[int, int, int] = (36, 36, 28),
    voxel_size_mm: float = 2.0,
    *,
    snr: float = 30.0,
    seed: int = 1,
) -> Phantom:
    """Scan the phantom with two b=0 volumes and 32 directions at b=1000, as many clinics do."""
    return make_phantom(shape, voxel_size_mm, shells=SINGLE_SHELL, snr=snr, seed=seed)


def _predict_signal(
    truth: Truth, intra_fractions: np.ndarray, bvals: np.ndarray, bvecs_ras: np.ndarray
) -> np.ndarray:
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
