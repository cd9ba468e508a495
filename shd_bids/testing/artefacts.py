"""Scanning the phantom brain with everything that goes wrong in a real scanner.

Signal and noise arise in this order: the head lies where it has moved to and sees the gradient that
the scanner applies; the coil shades it; eddy currents and the head's own field displace it along
the phase axis; k-space is truncated; slices drop out; noise is Rician.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.transforms import PhaseEncoding, VolumeTransforms, rotate_gradients

from .artefact_truth import ArtefactTruth
from .epi import Scanner
from .kernels import S0, add_rician_noise, true_responses
from .motion import draw_motion
from .scan import Phantom, make_affine
from .scheme import MULTI_SHELL, make_scheme
from .truth import sample_truth

N_REVERSE = 3  # b=0 volumes of opposite phase encoding
_OFF_CENTRE_MM = 25.0  # how far the grid's centre may lie from the gradients' isocentre
_LEAST_LOSS = 0.3  # of the signal of a slice that drops out
_BRAIN_SLICE = 0.2  # of the area of the largest: smaller slices never drop out


@dataclass(frozen=True)
class Artefacts:
    """How much goes wrong; 0 switches an artefact off.

    Parameters
    ----------
    motion_mm, motion_deg
        Farthest the head is from its first DWI volume.
    eddy
        Largest displacement along the phase axis, mm for each mm from the gradients' isocentre,
        which lies off the grid's centre.
    field_hz
        Largest bump of the susceptibility field.
    bias
        Of the coil: over the brain the logarithm of its sensitivity ranges over about twice this.
    gibbs
        Whether edges ring.
    dropout
        Share of the diffusion-weighted slices that lose 30 to 100 % of their signal.
    """

    motion_mm: float = 5.0
    motion_deg: float = 5.0
    eddy: float = 0.02
    field_hz: float = 60.0
    bias: float = 0.3
    gibbs: bool = True
    dropout: float = 0.02

    @classmethod
    def none(cls) -> "Artefacts":
        """Switch all of them off."""
        return cls(0.0, 0.0, 0.0, 0.0, 0.0, False, 0.0)


@dataclass(frozen=True, eq=False)
class ArtefactPhantom:
    """A scan, the same without artefacts, and what went wrong."""

    scan: Phantom  # as the scanner delivers it; gradients as applied
    clean: Phantom  # the head at rest and noise alone; gradients as the moved head saw them
    noiseless: Float[np.ndarray, "x y z volume"]  # `clean` before the noise
    reverse_b0: Float[np.ndarray, "x y z reverse"]
    truth: ArtefactTruth


def make_artefact_phantom(
    shape: tuple[int, int, int] = (36, 36, 28),
    voxel_size_mm: float = 2.0,
    *,
    shells: Mapping[int, int] = MULTI_SHELL,
    snr: float = 30.0,
    seed: int = 1,
    affine: Float[np.ndarray, "4 4"] | None = None,
    artefacts: Artefacts | None = None,
    phase: PhaseEncoding | None = None,
) -> ArtefactPhantom:
    """Scan the phantom brain with artefacts whose truth is kept.

    Parameters
    ----------
    shells
        Number of volumes for each b-value in s/mm².
    snr
        Of white matter at b=0; noise is Rician. ``inf`` gives none.
    seed
        Of gradient directions, motion, eddy currents, dropout and noise.
    affine
        Voxel to RAS mm; oblique by default. Slices lie along the third axis.
    artefacts
        All of them by default.
    phase
        Of the series, along the first or second axis; ``j-`` with a readout of 52.5 ms by default.
    """
    affine = make_affine(shape, voxel_size_mm) if affine is None else affine
    artefacts = Artefacts() if artefacts is None else artefacts
    phase = PhaseEncoding.from_bids("j-", 0.0525) if phase is None else phase
    generator = np.random.default_rng(seed)
    table = GradientTable(*make_scheme(shells, seed=seed))
    scanner = Scanner(shape, affine, artefacts.field_hz, artefacts.bias, artefacts.gibbs)

    before = 1 + N_REVERSE  # the T1w volume and the b=0 volumes of opposite phase encoding
    path = draw_motion(
        before + table.n_volume,
        artefacts.motion_mm,
        artefacts.motion_deg,
        generator=generator,
        reference=before,
    )
    transforms = replace(
        _volumes(path, slice(before, None)),
        eddy=_draw_eddy(table, affine, artefacts.eddy, generator),
    )
    brain, _ = sample_truth(shape, affine)
    field_hz, bias = scanner.truth()
    truth = ArtefactTruth(
        phase=phase,
        transforms=transforms,
        reverse_transforms=_volumes(path, slice(1, before)),
        t1w_transforms=_volumes(path, slice(0, 1)),
        field_hz=field_hz,
        bias=bias,
        kept_signal=_draw_dropout(brain.mask, table.bvals > 0, artefacts.dropout, generator),
    )

    sigma = S0["WM"] / snr
    noiseless = _scan_at_rest(scanner, rotate_gradients(table, transforms))
    dwi = _scan(scanner, table, transforms, phase)
    dwi *= truth.kept_signal.T
    opposite = replace(phase, sign=-phase.sign)
    b0_table = GradientTable(np.zeros(N_REVERSE), np.zeros((N_REVERSE, 3)))
    reverse_b0 = _scan(scanner, b0_table, truth.reverse_transforms, opposite)
    dwi, reverse_b0, noisy = (
        add_rician_noise(image, sigma, generator).astype(np.float32)
        for image in (dwi, reverse_b0, noiseless)
    )
    shell_bvals = np.unique(table.bvals)
    scan = Phantom(
        dwi=dwi,
        bvals=table.bvals,
        bvecs_ras=table.bvecs_ras,
        affine=affine,
        mask=brain.mask,
        truth=brain,
        shell_bvals=shell_bvals,
        responses=true_responses(shell_bvals),
        sigma=sigma,
    )
    seen = rotate_gradients(table, transforms).bvecs_ras
    clean = replace(scan, dwi=noisy, bvecs_ras=seen)
    return ArtefactPhantom(scan, clean, noiseless.astype(np.float32), reverse_b0, truth)


def _scan(
    scanner: Scanner, table: GradientTable, transforms: VolumeTransforms, phase: PhaseEncoding
) -> Float[np.ndarray, "x y z volume"]:
    images = np.empty((*scanner.shape, table.n_volume))
    places = np.hstack([transforms.translation_mm, transforms.rotation_rad])
    for volume, place in enumerate(places):
        if volume == 0 or np.any(place != places[volume - 1]):
            head = scanner.place_head(transforms, volume)
        signal = head.signal(table.bvals[volume], table.bvecs_ras[volume])
        images[..., volume] = scanner.record(signal, transforms, volume, phase)
    return images


def _scan_at_rest(scanner: Scanner, table: GradientTable) -> Float[np.ndarray, "x y z volume"]:
    """Scan without any artefact."""
    perfect = Scanner(scanner.shape, scanner.affine)
    head = perfect.place_head(VolumeTransforms.identity(1), 0)
    volumes = zip(table.bvals, table.bvecs_ras, strict=True)
    return np.stack([perfect.reconstruct(head.signal(*volume)) for volume in volumes], axis=-1)


def _volumes(transforms: VolumeTransforms, which: slice) -> VolumeTransforms:
    return VolumeTransforms(
        transforms.translation_mm[which], transforms.rotation_rad[which], transforms.eddy[which]
    )


def _draw_eddy(
    table: GradientTable,
    affine: Float[np.ndarray, "4 4"],
    largest: float,
    generator: np.random.Generator,
) -> Float[np.ndarray, "volume 4"]:
    """Draw eddy currents that are linear in the diffusion gradient, whose square is b."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    strength = np.sqrt(table.bvals / table.bvals.max())[:, None]
    coupling = generator.standard_normal((3, 3))
    coupling *= largest / np.linalg.norm(coupling, ord=2)
    linear = strength * (table.bvecs_ras @ axes) @ coupling
    # a stream of its own, so that all other draws are the same with and without an offset
    centre_mm = generator.spawn(1)[0].uniform(-1, 1, 3) * _OFF_CENTRE_MM / np.sqrt(3)
    return np.column_stack([linear, linear @ centre_mm])


def _draw_dropout(
    mask: Bool[np.ndarray, "x y z"],
    weighted: Bool[np.ndarray, " volume"],
    share: float,
    generator: np.random.Generator,
) -> Float[np.ndarray, "volume z"]:
    """Draw how much of each slice's signal is left."""
    area = mask.sum(axis=(0, 1))
    candidates = np.argwhere(weighted[:, None] & (area > _BRAIN_SLICE * area.max()))
    n_dropped = round(share * len(candidates))
    volume, slice_ = generator.permutation(candidates)[:n_dropped].T
    kept = np.ones((len(weighted), mask.shape[2]))
    kept[volume, slice_] = 1 - generator.uniform(_LEAST_LOSS, 1.0, n_dropped)
    return kept
