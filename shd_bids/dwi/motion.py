"""Head motion, eddy currents and dropout of a series: predict, register, look for dropout, repeat.

The b=0 volumes are registered to each other first, and the head is placed between them. Then all
volumes move together, from coarse to fine, on less and less smoothed images. Slices that dropped
are found after each pass and count for nothing in the next. At last each shell as a whole is
brought to the b=0 volumes.

The coils' shading stays where it is when the head turns, and would hold it back. All of this sees
images that were divided by its estimate; what this leaves is learnt as the volumes move. Of how
bright tissues are it says nothing, so that the shells are brought to the b=0 volumes without it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from nibabel.affines import voxel_sizes
from scipy.ndimage import gaussian_filter, spline_filter

from .bias import estimate_bias_field, even_image
from .gradients import GradientTable
from .joint_registration import step_together
from .outliers import find_outliers, slice_area_mm2, slice_loss, volume_prediction
from .prediction import Predictor, gaussian_process_predictor
from .sampling import Domain, interpolate, lies_inside
from .shell_placement import place_shells
from .shells import Shells
from .steadiness import Steadiness
from .transforms import PhaseEncoding, VolumeTransforms, rotate_gradients
from .volume_registration import distance_mm, register_volume

LOGGER = logging.getLogger(__name__)

_N_SAMPLE = 3000  # voxels from which the predictor learns
_N_COMPARED = 30_000  # voxels; many more cost time and tell little
_FURTHEST_MM = 30.0
_STILL_MM = 0.02  # a sweep that moves the head less ends its pass
_N_FILL = 2


@dataclass(frozen=True)
class Pass:
    """How finely a pass looks, and what it looks for."""

    name: str
    smoothing_vox: float
    order: int
    n_sweep: int
    has_eddy: bool
    may_jump: bool


PASSES = (
    Pass("coarse", 2.0, 1, 3, has_eddy=False, may_jump=False),
    Pass("middle", 1.0, 1, 5, has_eddy=True, may_jump=True),
    Pass("fine", 0.7, 3, 6, has_eddy=True, may_jump=True),
)


@dataclass(frozen=True, eq=False)
class MotionCorrection:
    """Where the head was, and which slices dropped.

    ``failed`` says of each volume that could not be registered why; it keeps the place it had.
    ``passes`` says of each sweep how far it moved the volumes.
    """

    transforms: VolumeTransforms
    outliers: Bool[np.ndarray, "volume z"]
    z_scores: Float[np.ndarray, "volume z"]
    replaced: Float[np.ndarray, "x y z volume"]
    failed: dict[int, str]
    passes: list[dict[str, float | str]]


def correct_motion(
    dwi: Float[np.ndarray, "x y z volume"],
    affine: Float[np.ndarray, "4 4"],
    gradients: GradientTable,
    shells: Shells,
    mask: Bool[np.ndarray, "x y z"],
    encodings: Sequence[PhaseEncoding],
    *,
    field_hz: Float[np.ndarray, "x y z"] | None = None,
    passes: Sequence[Pass] = PASSES,
) -> MotionCorrection:
    """Find head motion, eddy currents and dropped slices, and replace these by their prediction.

    Parameters
    ----------
    dwi
        Scanner units, as acquired: nothing is resampled.
    affine
        Voxel-to-world matrix, RAS+ mm.
    gradients, shells
        Of the volumes.
    mask
        The brain in the first b=0 volume, without distortion.
    encodings
        Of each volume.
    field_hz
        Off-resonance on the grid, with the head as in the first b=0 volume.
    passes
        From coarse to fine.

    Returns
    -------
    MotionCorrection
        Relative to the first b=0 volume.
    """
    shading = _find_shading(dwi, affine, shells, mask)
    even = np.divide(dwi, shading[..., None], dtype=np.float32)
    domain = unlearnt = Domain.about(mask, affine, encodings, field_hz)
    transforms, steadiness = VolumeTransforms.identity(dwi.shape[3]), Steadiness()
    outliers = np.zeros((dwi.shape[3], dwi.shape[2]), dtype=bool)
    z_scores, failed = np.full(outliers.shape, np.nan), dict[int, str]()
    first, log = int(shells.volumes(0)[0]), list[dict[str, float | str]]()
    chosen = domain.brain & (np.arange(len(domain.brain)) % _stride(domain, _N_COMPARED) == 0)
    for stage in passes:
        images = _smooth(even, stage)
        share = float(domain.brain.sum() / chosen.sum())
        information = min(1.0, share / (4 * np.pi * stage.smoothing_vox**2) ** 1.5)
        if stage is passes[0]:
            transforms, failed = _register_b0(
                images, domain, shells, chosen, stage.order, information
            )
        for _ in range(stage.n_sweep):
            before = transforms
            signal, predictor = _predict_from(
                images, domain, transforms, gradients, shells, outliers, stage.order
            )
            transforms, left, steadiness = step_together(
                signal,
                predictor,
                domain,
                transforms,
                gradients,
                shells,
                steadiness,
                chosen=chosen,
                information=information,
                has_eddy=stage.has_eddy,
                may_jump=stage.may_jump,
            )
            domain = replace(domain, shading=left)
            transforms, lost = _give_up(before, transforms, domain)
            failed |= lost
            transforms = transforms.relative_to(first)
            moved = [distance_mm(domain, before, transforms, v) for v in range(dwi.shape[3])]
            change_mm = float(np.sqrt(np.mean(np.square(moved))))
            log.append({"pass": stage.name, "rms_change_mm": change_mm})
            LOGGER.info("Head motion, %(pass)s: moved by %(rms_change_mm).3f mm.", log[-1])
            if change_mm < _STILL_MM:
                break
        del images
        signal, predictor = _predict_from(even, domain, transforms, gradients, shells, outliers, 1)
        outliers, z_scores = _look_for_dropout(even, signal, predictor, domain, transforms, shells)
    signal, _ = _predict_from(even, unlearnt, transforms, gradients, shells, outliers, 1)
    transforms = place_shells(signal, unlearnt, transforms, shells, steadiness, chosen=chosen)
    for volume, why in sorted(failed.items()):
        LOGGER.warning("Volume %d (from 0) keeps its last known head position: %s.", volume, why)
    signal, predictor = _predict_from(even, domain, transforms, gradients, shells, outliers, 1)
    replaced = dwi.copy()
    for volume in np.flatnonzero(outliers.any(axis=1)).tolist():
        prediction = predictor.predict(signal, volume)
        values, index = volume_prediction(prediction, domain, transforms, volume)
        dropped = outliers[volume][index[2]]
        where = tuple(axis[dropped] for axis in index)
        replaced[(*where, volume)] = values[dropped].clip(0) * shading[where]
    return MotionCorrection(transforms, outliers, z_scores, replaced, failed, log)


def _find_shading(
    dwi: Float[np.ndarray, "x y z volume"],
    affine: Float[np.ndarray, "4 4"],
    shells: Shells,
    mask: Bool[np.ndarray, "x y z"],
) -> Float[np.ndarray, "x y z"]:
    x_mm, y_mm, z_mm = voxel_sizes(affine).tolist()
    return estimate_bias_field(even_image(dwi, shells), mask, (x_mm, y_mm, z_mm))


def _stride(domain: Domain, n_wanted: int) -> int:
    return max(int(domain.brain.sum()) // n_wanted, 1)


def _smooth(dwi: Float[np.ndarray, "x y z volume"], stage: Pass) -> np.ndarray:
    """Smooth every volume; spline coefficients where the order asks for them."""
    images = np.empty((dwi.shape[3], *dwi.shape[:3]), np.float32)  # each volume in one piece
    for volume in range(dwi.shape[3]):
        image = gaussian_filter(np.ascontiguousarray(dwi[..., volume]), stage.smoothing_vox)
        images[volume] = spline_filter(image, stage.order) if stage.order > 1 else image
    return np.moveaxis(images, 0, 3)


def _predict_from(
    images: Float[np.ndarray, "x y z volume"],
    domain: Domain,
    transforms: VolumeTransforms,
    gradients: GradientTable,
    shells: Shells,
    outliers: Bool[np.ndarray, "volume z"],
    order: int,
) -> tuple[Float[np.ndarray, "volume voxel"], Predictor]:
    """Sample the volumes, learn to predict them, and predict what dropped or lies outside."""
    signal = np.empty((images.shape[3], len(domain.voxels)), np.float32)
    missing = np.empty(signal.shape, dtype=bool)
    for volume in range(len(signal)):
        at = domain.locate(transforms, volume)
        signal[volume] = interpolate(images[..., volume], at, order)
        signal[volume] /= domain.brightness(transforms, volume)
        level = np.rint(at[2]).astype(int).clip(0, outliers.shape[1] - 1)
        missing[volume] = outliers[volume][level] | ~lies_inside(at, domain.shape)
    some = signal[:, domain.brain][:, :: _stride(domain, _N_SAMPLE)]
    turned = rotate_gradients(gradients, transforms)
    predictor = gaussian_process_predictor(turned, shells, some)
    for _ in range(_N_FILL):
        for volume, absent in enumerate(missing):
            signal[volume, absent] = predictor.predict(signal[:, absent], volume)
    return signal, predictor


def _register_b0(
    images: Float[np.ndarray, "x y z volume"],
    domain: Domain,
    shells: Shells,
    chosen: Bool[np.ndarray, " voxel"],
    order: int,
    information: float,
) -> tuple[VolumeTransforms, dict[int, str]]:
    """Register each b=0 volume to those before it, and place the head between them."""
    transforms, failed = VolumeTransforms.identity(images.shape[3]), dict[int, str]()
    known: list[np.ndarray] = []
    for volume in shells.volumes(0).tolist():
        if known:
            fit = register_volume(
                images[..., volume],
                np.mean(known, axis=0),
                domain,
                transforms,
                volume,
                chosen=chosen,
                order=order,
                information=information,
            )
            transforms = fit.transforms
            if fit.failed:
                failed[volume] = fit.failed
        at = domain.locate(transforms, volume)
        values = interpolate(images[..., volume], at, order)
        known.append(values / domain.brightness(transforms, volume))
    return _between(transforms, shells.volumes(0)), failed


def _between(transforms: VolumeTransforms, b0: Int[np.ndarray, " b0"]) -> VolumeTransforms:
    """Place the head on straight lines between the b=0 volumes."""
    when = np.arange(transforms.n_volume)

    def interpolate_rows(rows: np.ndarray) -> np.ndarray:
        return np.stack([np.interp(when, b0, column[b0]) for column in rows.T], axis=1)

    return VolumeTransforms(
        interpolate_rows(transforms.translation_mm),
        interpolate_rows(transforms.rotation_rad),
        transforms.eddy,
    )


def _give_up(
    before: VolumeTransforms, after: VolumeTransforms, domain: Domain
) -> tuple[VolumeTransforms, dict[int, str]]:
    """Take steps back that would lose the head."""
    failed = {}
    rows = [after.translation_mm.copy(), after.rotation_rad.copy(), after.eddy.copy()]
    for volume in range(after.n_volume):
        moved = distance_mm(domain, before, after, volume)
        if not moved < _FURTHEST_MM:
            failed[volume] = f"it would move by {moved:.0f} mm in one step"
            for row, old in zip(
                rows, (before.translation_mm, before.rotation_rad, before.eddy), strict=True
            ):
                row[volume] = old[volume]
    return VolumeTransforms(*rows), failed


def _look_for_dropout(
    dwi: Float[np.ndarray, "x y z volume"],
    signal: Float[np.ndarray, "volume voxel"],
    predictor: Predictor,
    domain: Domain,
    transforms: VolumeTransforms,
    shells: Shells,
) -> tuple[Bool[np.ndarray, "volume z"], Float[np.ndarray, "volume z"]]:
    loss = np.empty((dwi.shape[3], dwi.shape[2]))
    for volume in range(dwi.shape[3]):
        prediction = predictor.predict(signal, volume)
        values, index = volume_prediction(prediction, domain, transforms, volume)
        area_mm2 = slice_area_mm2(domain.affine)
        loss[volume] = slice_loss(dwi[..., volume], values, index, area_mm2)
    return find_outliers(loss, shells)
