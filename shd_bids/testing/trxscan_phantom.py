"""The phantom brain scanned by trxscan, a simulator that shares no code with ours.

It forms the k-space of every echo train (https://github.com/PennLINC/TRXScan), and so checks the
signs of field, phase encoding, motion and gradients, and corrections that ours might flatter. Two
things differ: its field stays where it is when the head moves, and its edges always ring.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.transforms import PhaseEncoding, VolumeTransforms, rotate_gradients

from .artefact_truth import ArtefactTruth
from .artefacts import N_REVERSE, ArtefactPhantom
from .epi import Scanner
from .geometry import sample_anatomy
from .inhomogeneity import off_resonance_hz
from .kernels import S0, add_rician_noise
from .motion import draw_motion
from .scan import Phantom, make_affine
from .scheme import make_scheme
from .truth import sample_truth

PHASE = PhaseEncoding(axis=1, sign=-1, readout_s=0.0525)  # trxscan encodes along j only
_OVERSAMPLE = 2  # of its cells, within slices
_LEAST_WHITE = 0.1  # of a cell, for a fibre to be drawn


def make_trxscan_phantom(
    shape: tuple[int, int, int] = (36, 36, 28),
    voxel_size_mm: float = 2.0,
    *,
    shells: Mapping[int, int],
    snr: float = 30.0,
    seed: int = 1,
    affine: Float[np.ndarray, "4 4"] | None = None,
    motion_mm: float = 5.0,
    motion_deg: float = 5.0,
    field_hz: float = 60.0,
) -> ArtefactPhantom:
    """Scan the phantom brain with trxscan: motion, distortion, ringing and noise.

    Parameters
    ----------
    shells
        Number of volumes for each b-value in s/mm².
    snr
        Of white matter at b=0; noise is Rician.
    seed
        Of gradient directions, motion and noise.
    affine
        Voxel to RAS mm; oblique by default.
    motion_mm, motion_deg
        Farthest the head is from its first volume.
    field_hz
        Largest bump of the field.

    Returns
    -------
    ArtefactPhantom
        Its responses are left out, for trxscan's tissues have their own. Opposite b=0 volumes
        show the head at rest.
    """
    affine = make_affine(shape, voxel_size_mm) if affine is None else affine
    generator = np.random.default_rng(seed)
    table = GradientTable(*make_scheme(shells, seed=seed))
    transforms = draw_motion(table.n_volume, motion_mm, motion_deg, generator=generator)
    seen = rotate_gradients(table, transforms)
    at_rest, opposite = (VolumeTransforms.identity(n) for n in (table.n_volume, N_REVERSE))
    scene = _build_scene(shape, affine, field_hz)
    b0 = GradientTable(np.zeros(N_REVERSE), np.zeros((N_REVERSE, 3)))

    dwi = _simulate(scene, table, transforms, PHASE)
    noiseless = _simulate(scene, seen, at_rest, None)
    reverse_b0 = _simulate(scene, b0, opposite, replace(PHASE, sign=-PHASE.sign))
    brain, _ = sample_truth(shape, affine)
    white = noiseless[brain.tissue[..., 0] > 0.95][:, table.bvals == 0]
    scale, sigma = S0["WM"] / float(np.median(white)), S0["WM"] / snr
    dwi, noisy, reverse_b0 = (
        add_rician_noise(scale * image, sigma, generator).astype(np.float32)
        for image in (dwi, noiseless, reverse_b0)
    )
    scan = Phantom(
        dwi=dwi,
        bvals=table.bvals,
        bvecs_ras=table.bvecs_ras,
        affine=affine,
        mask=brain.mask,
        truth=brain,
        shell_bvals=np.unique(table.bvals),
        responses={},
        sigma=sigma,
    )
    field, _ = Scanner(shape, affine, field_hz).truth()
    truth = ArtefactTruth(
        phase=PHASE,
        transforms=transforms,
        reverse_transforms=opposite,
        t1w_transforms=VolumeTransforms.identity(1),
        field_hz=field,
        bias=np.ones(shape),
        kept_signal=np.ones((table.n_volume, shape[2])),
    )
    clean = replace(scan, dwi=noisy, bvecs_ras=seen.bvecs_ras)
    return ArtefactPhantom(scan, clean, (scale * noiseless).astype(np.float32), reverse_b0, truth)


def _build_scene(
    shape: tuple[int, int, int], affine: Float[np.ndarray, "4 4"], field_hz: float
) -> Any:
    """Give trxscan the tissue of each cell and its fibres as short streamlines."""
    from trxscan import Streamlines, objects

    scanner = Scanner(shape, affine)
    offsets = scanner.offsets_mm(n_fine=(_OVERSAMPLE, _OVERSAMPLE, 1))
    points = offsets / scanner.scale
    anatomy = sample_anatomy(points.reshape(-1, 3))
    tissue = anatomy.tissue.reshape(*points.shape)
    white = anatomy.tissue[:, :1] * anatomy.share
    owner, bundle = np.nonzero(white > _LEAST_WHITE)
    centre = affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
    middle = offsets.reshape(-1, 3)[owner] + centre
    cell_mm = np.linalg.norm(affine[:3, 0]) / _OVERSAMPLE
    half = 0.5 * cell_mm * white[owner, bundle, None] * anatomy.direction[owner, bundle]
    ends = np.stack([middle - half, middle + half], axis=1).reshape(-1, 3)
    scene = objects.from_arrays(
        *np.moveaxis(tissue, -1, 0),
        oversample=_OVERSAMPLE,
        voxel_mm=tuple(np.linalg.norm(affine[:3, :3], axis=0)),
        fieldmap=off_resonance_hz(points, field_hz).astype(np.float32),
        affine=affine,
    )
    streamlines = Streamlines(ends, np.arange(len(middle) + 1, dtype=np.uint32) * 2)
    return replace(scene, streamlines=streamlines)


def _simulate(
    scene: Any, table: GradientTable, transforms: VolumeTransforms, phase: PhaseEncoding | None
) -> Float[np.ndarray, "x y z volume"]:
    """Scan; without phase encoding nothing is distorted."""
    import trxscan

    poses = trxscan.Motion.from_arrays(
        transforms.translation_mm, transforms.rotation_rad, rot_units="rad"
    )
    protocol = trxscan.Protocol(
        voxel_mm=scene.voxel_mm,
        oversample=_OVERSAMPLE,
        readout_ms=1000 * PHASE.readout_s,
        pe="j" if phase is not None and phase.sign > 0 else "j-",
        phase_model="none",
    )
    artifacts = trxscan.Artifacts(motion=poses, distortion=phase is not None)
    gradients = table.bvals, table.bvecs_ras
    simulation = scene.simulate(gradients, protocol, artifacts, kspace=False)
    return np.asarray(simulation.magnitude.get_fdata())
