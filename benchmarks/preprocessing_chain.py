"""The whole correction of a raw series in the order of ``shd_workflows``, each step measured."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float
from nibabel.affines import voxel_sizes

from shd_bids.dwi.bias import correct_bias
from shd_bids.dwi.denoise import denoise_mppca
from shd_bids.dwi.distortion import correct_image, leading_b0
from shd_bids.dwi.field_estimation import FieldEstimate, estimate_field
from shd_bids.dwi.gradients import GradientTable
from shd_bids.dwi.mask import estimate_brain_mask
from shd_bids.dwi.motion import MotionCorrection, correct_motion
from shd_bids.dwi.resample import resample_series
from shd_bids.dwi.shells import Shells, cluster_shells
from shd_bids.dwi.transforms import rotate_gradients
from shd_bids.dwi.unringing import remove_gibbs_ringing
from shd_bids.testing.artefacts import ArtefactPhantom

from .peak_memory import run_measured_here

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Costs:
    """Seconds and peak memory of each step, in the order in which they ran."""

    steps: dict[str, dict[str, float]] = field(default_factory=dict)

    def run(self, name: str, step: Callable[[], Result]) -> Result:
        """Run a step in this process and note what it cost."""
        measured = run_measured_here(step)
        self.note(name, measured.seconds, measured.peak_memory_mib)
        return measured.result

    def note(self, name: str, seconds: float, peak_memory_mib: float) -> None:
        """Note what a step cost that ran elsewhere."""
        self.steps[name] = {"seconds": seconds, "peak_memory_mib": peak_memory_mib}


@dataclass(frozen=True, eq=False)
class Corrected:
    """A corrected series and what each step of the correction found."""

    dwi: Float[np.ndarray, "x y z volume"]
    gradients: GradientTable
    denoised: Float[np.ndarray, "x y z volume"]  # nothing is moved
    fieldmap_hz: Float[np.ndarray, "x y z"]
    shift_mm: float  # of the whole head along the phase axis, by which the field was mended
    motion: MotionCorrection
    bias: Float[np.ndarray, "x y z"]
    mask: Bool[np.ndarray, "x y z"]


def clean_series(
    dwi: Float[np.ndarray, "x y z volume"], costs: Costs, *, n_threads: int
) -> tuple[Float[np.ndarray, "x y z volume"], Float[np.ndarray, "x y z volume"]]:
    """Denoise a series, then remove its ringing; give both."""
    denoised, _ = costs.run("denoise", lambda: denoise_mppca(dwi, n_threads=n_threads))
    unrung = costs.run("unring", lambda: remove_gibbs_ringing(denoised, n_threads=n_threads))
    return denoised, unrung


def correct(phantom: ArtefactPhantom, costs: Costs, *, n_threads: int = 1) -> Corrected:
    """Correct a series as the app does.

    A head that moves along the phase axis between the opposite images cannot be told from a field
    that is higher everywhere, and half of that movement shifts the whole corrected head. So that
    all else can be scored on the grid of the truth, this shift is measured and taken out.

    Parameters
    ----------
    phantom
        Its scan and its b=0 volumes of opposite phase encoding; of the truth, only the mean of the
        field is looked at.
    costs
        Takes what each step cost.
    n_threads
        Of the steps that have any.
    """
    scan, phase = phantom.scan, phantom.truth.phase
    gradients = GradientTable(scan.bvals, scan.bvecs_ras)
    shells = cluster_shells(scan.bvals)
    encodings = [phase] * gradients.n_volume
    x_mm, y_mm, z_mm = (float(mm) for mm in voxel_sizes(scan.affine))
    voxel_mm = (x_mm, y_mm, z_mm)

    denoised, unrung = clean_series(scan.dwi, costs, n_threads=n_threads)
    found, brain = costs.run("distortion", lambda: _find_field(phantom, unrung, shells, voxel_mm))
    offset_hz = float((found.fieldmap_hz - phantom.truth.field_hz)[scan.mask].mean())
    found = replace(found, fieldmap_hz=found.fieldmap_hz - np.float32(offset_hz))
    motion = costs.run(
        "motion",
        lambda: correct_motion(
            unrung,
            scan.affine,
            gradients,
            shells,
            brain,
            encodings,
            field_hz=found.fieldmap_hz,
        ),
    )
    resampled, _ = costs.run(
        "resample",
        lambda: resample_series(
            motion.replaced,
            scan.affine,
            motion.transforms,
            encodings,
            field_hz=found.fieldmap_hz,
        ),
    )
    biased = costs.run("mask", lambda: estimate_brain_mask(resampled, shells, voxel_mm))
    dwi, bias = costs.run(
        "bias", lambda: correct_bias(resampled, shells, biased, voxel_mm, n_threads=n_threads)
    )
    return Corrected(
        dwi=dwi,
        gradients=rotate_gradients(gradients, motion.transforms),
        denoised=denoised,
        fieldmap_hz=found.fieldmap_hz,
        shift_mm=abs(offset_hz) * phase.readout_s * voxel_mm[phase.axis],
        motion=motion,
        bias=bias,
        mask=estimate_brain_mask(dwi, shells, voxel_mm),
    )


def _find_field(
    phantom: ArtefactPhantom,
    dwi: Float[np.ndarray, "x y z volume"],
    shells: Shells,
    voxel_mm: tuple[float, float, float],
) -> tuple[FieldEstimate, Bool[np.ndarray, "x y z"]]:
    """Find the field from the leading b=0 of either phase encoding, and the brain without it."""
    series, affine = phantom.truth.phase, phantom.scan.affine
    opposite = type(series)(series.axis, -series.sign, series.readout_s)
    (leading,) = leading_b0(shells.index == 0, [series] * len(shells.index)).values()
    reverse_b0 = remove_gibbs_ringing(phantom.reverse_b0.mean(axis=3, keepdims=True))[..., 0]
    pairs = dwi[..., leading].mean(axis=3), reverse_b0
    images = np.stack(pairs).astype(np.float32)
    found = estimate_field(images, affine, [series, opposite])
    corrected = [
        correct_image(image, found.fieldmap_hz, encoding, affine, found.transforms, number)
        for number, (image, encoding) in enumerate(zip(images, found.phase_encodings, strict=True))
    ]
    b0 = np.mean(corrected, axis=0)
    one_shell = Shells(np.zeros(1), np.zeros(1, dtype=int))
    return found, estimate_brain_mask(b0[..., None], one_shell, voxel_mm)
