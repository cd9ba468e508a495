"""All volumes brought to each other at once: Gauss-Newton steps under a Gaussian process.

A volume's prediction follows its neighbours in q-space, so that volumes registered one by one
hardly ever agree on a displacement that changes slowly with the gradient. The likelihood of all
volumes together sees more: with the precision P of the process, the slopes J_v of each volume by
its parameters and the signal y, its normal equations are

    sum over w of P_vw J_v' J_w d_w = - J_v' (P y)_v        for each volume v.

Two things that are known help where this likelihood is flat. Eddy currents are linear in the
gradient, so that twelve numbers give those of all volumes (the second-level model of Andersson and
Sotiropoulos, NeuroImage 125, 2016). And a head seldom jumps (`steadiness`).

Brightness changes for reasons of its own, and must not be taken for movement. The coils' shading is
one for all volumes; what differs as the head moves under it is learnt along, as further columns of
J. What a volume's brightness drifts by is looked for in each step, and forgotten.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float
from scipy import sparse

from .gradients import GradientTable
from .prediction import Predictor
from .sampling import Domain
from .shading import N_TERM, Shading
from .shading import PRIOR as SHADING_PRIOR
from .shells import Shells
from .steadiness import Steadiness, expect_steady, learn_steadiness
from .transforms import VolumeTransforms
from .volume_registration import HUBER, N_RIGID, PRIOR, advance, derivatives

_TRUST = 0.2  # of the information: a residual is part noise, part what the process cannot tell
_N_DRIFT = 4  # parameters of a volume's brightness: its level and its slope along three axes
_DRIFT = 0.02  # of the signal: how far a volume's brightness may well be off
_N_ROW = len(PRIOR) + _N_DRIFT
_N_PIECE = 4096  # voxels whose derivatives are held at once


def step_together(
    signal: Float[np.ndarray, "volume voxel"],
    predictor: Predictor,
    domain: Domain,
    transforms: VolumeTransforms,
    gradients: GradientTable,
    shells: Shells,
    steadiness: Steadiness,
    *,
    chosen: Bool[np.ndarray, " voxel"],
    information: float,
    has_eddy: bool,
    may_jump: bool,
) -> tuple[VolumeTransforms, Shading, Steadiness]:
    """Take one step with all volumes.

    Parameters
    ----------
    signal
        What the volumes show on the domain now; predictions where a slice dropped.
    predictor
        Of the volumes.
    domain, transforms
        Where the volumes show the domain, under which shading.
    gradients
        As the scanner applied them.
    shells
        Of the volumes.
    steadiness
        How far the head is expected to move between two volumes.
    chosen
        Voxels to compare.
    information
        Independent measurements per voxel.
    has_eddy
        Look for eddy currents, too, not only for the head.
    may_jump
        Whether large movements between two volumes are believed, and how large they are is learnt.
        Before the shells have been brought to b=0 they are not.

    Returns
    -------
    transforms, shading
        After the step.
    steadiness
        As the step tells.
    """
    normal, gradient = _normal_equations(
        signal, predictor, domain, transforms, chosen, _TRUST * information
    )
    design, spread = _design(gradients, shells, has_eddy=has_eddy)
    rigid, coils = slice(len(signal) * N_RIGID), slice(-N_TERM, None)
    for rows in (normal, normal.T, gradient):
        _set_apart(rows[:-N_TERM], shells)
    normal, gradient = design.T @ normal @ design, design.T @ gradient
    firmness, pull = expect_steady(transforms, steadiness, may_jump=may_jump)
    normal[rigid, rigid] += firmness
    gradient[rigid] += pull
    gradient[coils] += domain.shading.coefficients / SHADING_PRIOR**2
    normal[np.diag_indices_from(normal)] += 1 / spread**2
    covariance = np.linalg.inv(normal)
    step = design @ -(covariance @ gradient)
    for volume, change in enumerate(step[:-N_TERM].reshape(len(signal), -1)):
        transforms = advance(transforms, volume, change[: len(PRIOR)])
    if may_jump:
        steadiness = learn_steadiness(transforms, steadiness, covariance[rigid, rigid])
    return transforms, domain.shading.changed(step[coils]), steadiness


def _normal_equations(
    signal: Float[np.ndarray, "volume voxel"],
    predictor: Predictor,
    domain: Domain,
    transforms: VolumeTransforms,
    chosen: Bool[np.ndarray, " voxel"],
    information: float,
) -> tuple[Float[np.ndarray, "row row"], Float[np.ndarray, " row"]]:
    """Give curvature and slope of the likelihood by all volumes' parameters, then the shading's."""
    precision, n_volume = predictor.precision.astype(np.float32), len(signal)
    residual = precision @ signal[:, chosen]
    spread = np.sqrt(np.diag(precision))[:, None]
    residual /= np.maximum(np.abs(residual) / (HUBER * spread + 1e-30), 1.0)
    head = np.zeros((n_volume, _N_ROW, n_volume, _N_ROW))
    between, coils = np.zeros((n_volume, _N_ROW, N_TERM)), np.zeros((N_TERM, N_TERM))
    slope, slope_of_coils = np.zeros((n_volume, _N_ROW)), np.zeros(N_TERM)
    for piece, moved, shaded in _derivatives(signal, predictor, domain, transforms, chosen):
        flat = moved.reshape(-1, moved.shape[-1])
        weighed = np.tensordot(precision, shaded, axes=1).swapaxes(1, 2)
        head += (flat @ flat.T).reshape(head.shape)
        between += moved @ weighed
        coils += (shaded @ weighed).sum(axis=0)
        slope += np.einsum("vkp,vp->vk", moved, residual[:, piece])
        slope_of_coils += np.einsum("vkp,vp->k", shaded, residual[:, piece])
    head *= predictor.precision[:, None, :, None]
    off = between.reshape(-1, N_TERM)
    normal = np.block([[head.reshape(len(off), -1), off], [off.T, coils]])
    return information * normal, information * np.concatenate([slope.ravel(), slope_of_coils])


def _derivatives(
    signal: Float[np.ndarray, "volume voxel"],
    predictor: Predictor,
    domain: Domain,
    transforms: VolumeTransforms,
    chosen: Bool[np.ndarray, " voxel"],
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Differentiate what is seen of the volumes, some of the chosen voxels after the other.

    Give which of them, the derivatives by each volume's parameters (volume, row, voxel) and by the
    shading's (volume, term, voxel). Of these, what is alike in all volumes is left out, of which
    nobody can say whether it is the head's or the coils'.
    """
    some, n_volume = domain.only(chosen), len(signal)
    expected = np.empty((n_volume, len(some.voxels)), np.float32)
    slopes = np.empty((*expected.shape, 3), np.float32)
    for volume in range(n_volume):
        prediction = predictor.predict(signal, volume)
        expected[volume] = prediction[chosen]
        slopes[volume] = domain.gradient_ras(prediction)[chosen]
    for start in range(0, len(some.voxels), _N_PIECE):
        piece = slice(start, start + _N_PIECE)
        part = some.only(piece)
        centred = part.centred_mm()
        drift = np.vstack([np.ones(len(centred)), centred.T / part.shading.radius_mm])
        moved = np.empty((n_volume, _N_ROW, len(centred)), np.float32)
        terms = np.empty((n_volume, N_TERM, len(centred)), np.float32)
        for volume in range(n_volume):
            slope = slopes[volume, piece]
            moved[volume, : len(PRIOR)] = derivatives(slope, centred, part, transforms, volume)
            moved[volume, len(PRIOR) :] = drift * expected[volume, piece]
            terms[volume] = part.shading.terms(part.in_scanner_mm(transforms, volume))
        yield piece, moved, (terms.mean(axis=0) - terms) * expected[:, None, piece]


def _design(
    gradients: GradientTable, shells: Shells, *, has_eddy: bool
) -> tuple[sparse.csr_array, Float[np.ndarray, " free"]]:
    """Make all parameters of what is free, and say how far that may well go.

    Free are each volume's head position, the eddy currents' twelve numbers, each volume's
    brightness and the shading.
    """
    strength = np.sqrt(shells.bvals[shells.index] / shells.bvals[-1])
    applied = gradients.bvecs_ras * strength[:, None]
    each, n_volume = sparse.eye_array(len(applied)), len(applied)
    head, eddy, drift = np.split(np.eye(_N_ROW), [N_RIGID, len(PRIOR)], axis=1)
    parts = [(each, head, np.tile(PRIOR[:N_RIGID], n_volume))]
    if has_eddy:
        parts.append((applied, eddy, np.tile(PRIOR[N_RIGID:], 3)))
    parts.append((each, drift, np.full(n_volume * _N_DRIFT, _DRIFT)))
    per_volume = sparse.hstack([sparse.kron(volumes, rows) for volumes, rows, _ in parts])
    design = sparse.block_diag([per_volume, sparse.eye_array(N_TERM)], format="csr")
    spread = [wide for _, _, wide in parts]
    return design, np.concatenate([*spread, np.full(N_TERM, SHADING_PRIOR)])


def _set_apart(rows: Float[np.ndarray, "row ..."], shells: Shells) -> None:
    """Take from each shell what all its volumes do alike, of which the likelihood knows nothing.

    Eddy currents are no exception: directions seldom cancel, and their mean would move the shell.
    """
    per_volume = rows.reshape(-1, _N_ROW, *rows.shape[1:])
    for shell in range(shells.n_shell):
        member = shells.volumes(shell)
        per_volume[member] -= per_volume[member].mean(axis=0)
