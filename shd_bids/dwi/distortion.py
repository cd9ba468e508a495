"""What an off-resonance field does to an image, undone; images brought onto one grid."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from nibabel.affines import voxel_sizes

from shd_bids.errors import TransformError

from .transforms import PhaseEncoding, VolumeTransforms, resample_volume, voxel_matrix

_LEAST_COSINE = 0.94  # between phase axes that are taken for one: 20 degrees


def field_shift_vox(
    fieldmap_hz: Float[np.ndarray, "x y z"], encoding: PhaseEncoding
) -> Float[np.ndarray, "x y z"]:
    """Give the displacement along the image's phase axis in voxels, towards larger indices."""
    return fieldmap_hz * np.float32(encoding.sign * encoding.readout_s)


def field_displacement_mm(
    fieldmap_hz: Float[np.ndarray, "x y z"],
    encoding: PhaseEncoding,
    affine: Float[np.ndarray, "4 4"],
) -> Float[np.ndarray, "x y z"]:
    """Give the displacement along the image's phase axis in mm, towards larger indices.

    Parameters
    ----------
    fieldmap_hz
        Off-resonance, corrected grid.
    encoding
        Of the image that is displaced.
    affine
        Of the grid.

    Returns
    -------
    Float[np.ndarray, "x y z"]
        Times the direction of that axis in the world it is the RAS vector.

    Examples
    --------
    >>> field = np.full((1, 1, 1), 20.0, np.float32)
    >>> field_displacement_mm(field, PhaseEncoding(1, -1, 0.05), np.diag([2.0, 2, 2, 1])).item()
    -2.0
    """
    edge_mm = np.float32(voxel_sizes(affine)[encoding.axis])
    return field_shift_vox(fieldmap_hz, encoding) * edge_mm


def correct_image(
    image: Float[np.ndarray, "x y z"],
    fieldmap_hz: Float[np.ndarray, "x y z"],
    encoding: PhaseEncoding,
    affine: Float[np.ndarray, "4 4"],
    transforms: VolumeTransforms,
    volume: int,
) -> Float[np.ndarray, "x y z"]:
    """Undo the displacement of an image and the movement of its head, at once.

    Parameters
    ----------
    image
        As acquired, scanner units.
    fieldmap_hz
        On the corrected grid, which is also the image's.
    encoding
        Of the image.
    affine
        Of the grid.
    transforms, volume
        Where the heads were, and which of them this is.

    Returns
    -------
    Float[np.ndarray, "x y z"]
        With the Jacobian of the displacement; 0 or more.
    """
    x, y, z = image.shape
    matrix = voxel_matrix(transforms, volume, affine, (x, y, z), encoding.axis)
    shift = field_shift_vox(fieldmap_hz, encoding)
    return resample_volume(image, matrix, shift_vox=shift, phase_axis=encoding.axis).clip(0)


def resample_to_grid(
    image: Float[np.ndarray, "i j k"],
    image_affine: Float[np.ndarray, "4 4"],
    affine: Float[np.ndarray, "4 4"],
    shape: tuple[int, int, int],
) -> Float[np.ndarray, "x y z"]:
    """Bring an image onto another grid by the affines alone; cubic, 0 outside and at least 0."""
    matrix = np.linalg.solve(image_affine, affine)
    return resample_volume(image, matrix, out_shape=shape).clip(0)


def encode_on_grid(
    encoding: PhaseEncoding,
    image_affine: Float[np.ndarray, "4 4"],
    affine: Float[np.ndarray, "4 4"],
    *,
    source: str,
) -> PhaseEncoding:
    """Say how an image is encoded in terms of another grid's axes and voxels.

    Parameters
    ----------
    encoding, image_affine
        Of the image.
    affine
        Of the other grid.
    source
        Name of the image, for the message.

    Returns
    -------
    PhaseEncoding
        A voxel that is shorter on the other grid lengthens the readout time, so that the
        displacement in mm stays.

    Raises
    ------
    TransformError
        If no axis of the grid runs along the phase axis.

    Examples
    --------
    >>> turned = np.diag([-2.0, -2.0, 2.0, 1.0])
    >>> encode_on_grid(PhaseEncoding(1, 1, 0.05), turned, np.eye(4), source="sub-01_epi.nii.gz")
    PhaseEncoding(axis=1, sign=-1, readout_s=0.1)
    """
    from_mm, to_mm = voxel_sizes(image_affine), voxel_sizes(affine)
    direction = image_affine[:3, encoding.axis] / from_mm[encoding.axis]
    cosines = direction @ (affine[:3, :3] / to_mm)
    axis = int(np.argmax(np.abs(cosines)))
    if abs(cosines[axis]) < _LEAST_COSINE:
        angle = np.rad2deg(np.arccos(abs(cosines[axis])))
        raise TransformError(
            f"The phase axis of {source} is {angle:.0f} degrees off every axis of the diffusion "
            "images; expected at most 20. Use images of opposite phase encoding with the same "
            "slice orientation, or --sdc none."
        )
    longer = float(from_mm[encoding.axis] / to_mm[axis])
    sign = encoding.sign * int(np.sign(cosines[axis]))
    return PhaseEncoding(axis, sign, round(encoding.readout_s * longer, 9))


def leading_b0(
    is_b0: Bool[np.ndarray, " volume"], encodings: Sequence[PhaseEncoding]
) -> dict[PhaseEncoding, list[int]]:
    """Pick the b=0 volumes that show the head in one place: the first of each encoding.

    Later ones are left out unless they follow at once: the head will have moved, and the mean of
    two places has no field.

    Examples
    --------
    >>> along = PhaseEncoding(1, 1, 0.05)
    >>> list(leading_b0(np.array([True, True, False, True]), [along] * 4).values())
    [[0, 1]]
    """
    picked: dict[PhaseEncoding, list[int]] = {}
    for volume in np.flatnonzero(is_b0).tolist():
        found = picked.setdefault(encodings[volume], [])
        if not found or found[-1] == volume - 1:
            found.append(volume)
    return picked


def distortion_measures(
    displacement_mm: Float[np.ndarray, "x y z"],
    before: Sequence[Float[np.ndarray, "x y z"]],
    after: Sequence[Float[np.ndarray, "x y z"]],
    mask: Bool[np.ndarray, "x y z"],
) -> dict[str, float]:
    """Measure the distortion in the brain and how well its correction makes images agree.

    Parameters
    ----------
    displacement_mm
        Of the diffusion series.
    before, after
        The b=0 images of each phase encoding, uncorrected and corrected.
    mask
        Of the brain.

    Returns
    -------
    dict[str, float]
        Largest and root mean squared displacement, mm; difference between the images before and
        after, over their mean.
    """
    inside = displacement_mm[mask].astype(np.float64)
    return {
        "max_displacement_mm": float(np.abs(inside).max()),
        "rms_displacement_mm": float(np.sqrt(np.mean(inside**2))),
        "difference_before": _disagreement(before, mask),
        "difference_after": _disagreement(after, mask),
    }


def _disagreement(
    images: Sequence[Float[np.ndarray, "x y z"]], mask: Bool[np.ndarray, "x y z"]
) -> float:
    """Give the spread over images of equal mean intensity, relative to it."""
    values = np.stack([image[mask] / image[mask].mean() for image in images])
    return float(np.sqrt(np.mean((values - values.mean(axis=0)) ** 2)))
