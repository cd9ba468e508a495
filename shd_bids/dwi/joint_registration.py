"""All volumes brought to each other at once: Gauss-Newton steps under a Gaussian process.

A volume's prediction follows its neighbours in q-space, so that volumes registered one by one
hardly ever agree on a displacement that changes slowly with the gradient. The likelihood of all
volumes together sees more: with the precision P of the process, the slopes J_v of each volume by
its parameters and the signal y, its normal equations are

    sum over w of P_vw J_v' J_w d_w = - J_v' (P y)_v        for each volume v.

Two things that are known help where this likelihood is flat. Eddy currents are linear in the
gradient, so that twelve numbers give those of all volumes (the second-level model of Andersson and
Sotiropoulos, NeuroImage 125, 2016). And a head seldom jumps (`steadiness`).
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy import sparse

from .gradients import GradientTable
from .prediction import Predictor
from .sampling import Domain
from .shells import Shells
from .steadiness import Steadiness, expect_steady, learn_steadiness
from .transforms import VolumeTransforms
from .volume_registration import HUBER, N_RIGID, PRIOR, advance, derivatives

_TRUST = 0.2  # of the information: a residual is part noise, part what the process cannot tell


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
) -> tuple[VolumeTransforms, Steadiness]:
    """Take one step with all volumes.

    Parameters
    ----------
    signal
        What the volumes show on the domain now; predictions where a slice dropped.
    predictor
        Of the volumes.
    domain, transforms
        Where the volumes show the domain.
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
    transforms
        After the step.
    steadiness
        As the step tells.
    """
    normal, gradient = _normal_equations(
        signal, predictor, domain, transforms, chosen, _TRUST * information
    )
    design = _design(gradients, shells)
    rigid = len(signal) * N_RIGID
    if not has_eddy:
        design = design[:, :rigid]
    for rows in (normal, normal.T, gradient):
        _set_apart(rows, shells)
    normal, gradient = design.T @ normal @ design, design.T @ gradient
    firmness, pull = expect_steady(transforms, steadiness, may_jump=may_jump)
    normal[:rigid, :rigid] += firmness
    gradient[:rigid] += pull
    spread = np.concatenate([np.tile(PRIOR[:N_RIGID], len(signal)), np.tile(PRIOR[N_RIGID:], 3)])
    normal[np.diag_indices_from(normal)] += 1 / spread[: len(normal)] ** 2
    covariance = np.linalg.inv(normal)
    step = design @ -(covariance @ gradient)
    for volume, change in enumerate(step.reshape(len(signal), -1)):
        transforms = advance(transforms, volume, change)
    if may_jump:
        steadiness = learn_steadiness(transforms, steadiness, covariance[:rigid, :rigid])
    return transforms, steadiness


def _normal_equations(
    signal: Float[np.ndarray, "volume voxel"],
    predictor: Predictor,
    domain: Domain,
    transforms: VolumeTransforms,
    chosen: Bool[np.ndarray, " voxel"],
    information: float,
) -> tuple[Float[np.ndarray, "row row"], Float[np.ndarray, " row"]]:
    """Give curvature and slope of the likelihood by all parameters of all volumes."""
    precision = predictor.precision
    some = domain.only(chosen)
    centred = some.centred_mm()
    pull = precision.astype(np.float32) @ signal[:, chosen]
    spread = np.sqrt(np.diag(precision)).astype(np.float32)[:, None]
    pull /= np.maximum(np.abs(pull) / (HUBER * spread + 1e-30), 1.0)
    jacobian = np.empty((len(signal), len(PRIOR), len(centred)), np.float32)
    for volume in range(len(signal)):
        slope = domain.gradient_ras(predictor.predict(signal, volume))[chosen]
        jacobian[volume] = derivatives(slope, centred, some, transforms, volume)
    gradient = np.einsum("vkp,vp->vk", jacobian, pull).astype(np.float64).ravel()
    flat = jacobian.reshape(gradient.size, -1)
    normal = (flat @ flat.T).astype(np.float64).reshape(jacobian.shape[:2] * 2)
    normal *= information * precision[:, None, :, None]
    return normal.reshape(len(flat), -1), information * gradient


def _design(gradients: GradientTable, shells: Shells) -> sparse.csr_array:
    """Make the parameters of all volumes from their head positions and the twelve eddy numbers."""
    strength = np.sqrt(shells.bvals[shells.index] / shells.bvals[-1])
    applied = gradients.bvecs_ras * strength[:, None]
    head, eddy = np.split(np.eye(len(PRIOR)), [N_RIGID], axis=1)
    blocks = [sparse.kron(sparse.eye_array(len(applied)), head), sparse.kron(applied, eddy)]
    return sparse.hstack(blocks, format="csr")


def _set_apart(rows: Float[np.ndarray, "row ..."], shells: Shells) -> None:
    """Take from each shell what all its volumes do alike, of which the likelihood knows nothing.

    Eddy currents are no exception: directions seldom cancel, and their mean would move the shell.
    """
    per_volume = rows.reshape(-1, len(PRIOR), *rows.shape[1:])
    for shell in range(shells.n_shell):
        member = shells.volumes(shell)
        per_volume[member] -= per_volume[member].mean(axis=0)
