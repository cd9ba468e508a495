"""Gradient tables: read by the FSL/BIDS rule into world axes, checked, and written back.

Inside shd-bids directions are unit vectors along RAS+ world axes. FSL's files hold them along the
image axes of a left-handed grid: where the affine's determinant is positive their x is mirrored.
QSIPrep's ``.bvec`` holds them along the image axes as they are.
The direction of a volume below the b=0 threshold carries no meaning and is kept as it was read.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from shd_bids.bids.files import write_text
from shd_bids.errors import GradientTableError

from .gradient_text import normalise, read_numbers, refuse_infinite, scale_to_unit

LOGGER = logging.getLogger(__name__)

MIN_DIRECTIONS = 6
_REPEAT_ANGLE_DEG = 1.0
_NEEDS_NO_VECTOR = 100.0  # s/mm²; converters write NaN as the direction of b=0
_LARGEST_BVAL = 200_000.0  # s/mm², above what any scanner reaches
_LARGEST_IN_MS = 50.0
_LONGEST_ROW = 1.1  # of a unit vector in a `.b` file
_FORMAT = "%.10g"


@dataclass(frozen=True, eq=False)
class GradientTable:
    """One b-value (s/mm²) and one world (RAS+) direction per volume; zero vector: no direction."""

    bvals: Float[np.ndarray, " volume"]
    bvecs_ras: Float[np.ndarray, "volume 3"]

    @property
    def n_volume(self) -> int:
        """Number of volumes."""
        return len(self.bvals)


def read_fsl_gradients(
    bval_file: Path, bvec_file: Path, affine: Float[np.ndarray, "4 4"]
) -> GradientTable:
    """Read FSL ``.bval`` and ``.bvec`` files into world axes.

    The x component is mirrored when ``det(affine) > 0``; then the vectors turn with the affine's
    axes (its columns, normalised). Vectors that are not of unit length are treated as MRtrix3
    does: b is multiplied by the squared length (that is how scanners encode several shells under
    one nominal b-value), with a warning, unless the lengths only repeat the b-values
    (length² = b/b_max), in which case the b-values are right already.

    Parameters
    ----------
    bval_file
        Text, one b-value per volume, s/mm².
    bvec_file
        Text, 3 rows with one number per volume; 3 columns are accepted too.
    affine
        Voxel-to-world matrix of the image.

    Returns
    -------
    GradientTable
        Unit vectors in RAS+ axes.

    Raises
    ------
    GradientTableError
        If a file is missing, not numeric, not finite, or the two disagree on their counts.
    """
    bvals, bvecs = _read_bval_bvec(bval_file, bvec_file)
    if np.linalg.det(affine[:3, :3]) > 0:
        bvecs[:, 0] *= -1  # FSL's frame is left-handed
    return GradientTable(bvals, normalise(bvecs @ _image_axes(affine).T))


def read_image_axes_gradients(
    bval_file: Path, bvec_file: Path, affine: Float[np.ndarray, "4 4"]
) -> GradientTable:
    """Read ``.bval`` and ``.bvec`` files whose vectors run along the image's own axes.

    So QSIPrep writes them beside its images (LPS+): without FSL's mirror, whatever the sign of
    the affine's determinant.

    Parameters
    ----------
    bval_file, bvec_file, affine
        As in `read_fsl_gradients`; lengths are treated alike.

    Returns
    -------
    GradientTable
        Unit vectors in RAS+ axes.

    Raises
    ------
    GradientTableError
        As in `read_fsl_gradients`.
    """
    bvals, bvecs = _read_bval_bvec(bval_file, bvec_file)
    return GradientTable(bvals, normalise(bvecs @ _image_axes(affine).T))


def write_fsl_gradients(
    table: GradientTable, affine: Float[np.ndarray, "4 4"], bval_file: Path, bvec_file: Path
) -> None:
    """Write a table as FSL files for an image with this affine: the inverse of reading them.

    Parameters
    ----------
    table
        World directions and b-values.
    affine
        Voxel-to-world matrix of the image that the files will stand beside.
    bval_file, bvec_file
        Written anew, each by rename.
    """
    bvecs = normalise(np.linalg.solve(_image_axes(affine), table.bvecs_ras.T).T)
    if np.linalg.det(affine[:3, :3]) > 0:
        bvecs[:, 0] *= -1  # back to FSL's left-handed frame
    write_text(bval_file, _as_text(table.bvals[None, :]))
    write_text(bvec_file, _as_text(bvecs.T))


def read_mrtrix_gradients(file: Path) -> GradientTable:
    """Read an MRtrix3 ``.b`` table: rows of x, y, z (RAS+ scanner axes) and b.

    Parameters
    ----------
    file
        Text; lines that start with ``#`` are comments.

    Returns
    -------
    GradientTable
        Unit vectors in RAS+ axes.

    Raises
    ------
    GradientTableError
        If the file is missing or does not hold four finite numbers a row.
    """
    rows = read_numbers(file, "gradients")
    if rows.shape[1] != 4:
        raise GradientTableError(
            f"{file.name} has {rows.shape[1]} columns; expected 4: x, y, z and b."
        )
    refuse_infinite(rows, file.name, "gradients")
    bvals, bvecs = rows[:, 3].copy(), rows[:, :3]
    _check_bvals(bvals, file.name)
    longest = float(np.linalg.norm(bvecs, axis=1).max())
    if longest > _LONGEST_ROW:
        raise GradientTableError(
            f"{file.name} holds a vector of length {longest:.3g}; expected unit vectors in columns "
            "1 to 3 and b-values in column 4."
        )
    return GradientTable(bvals, normalise(bvecs))


def read_gradients(
    files: Sequence[Path], convention: str, affine: Float[np.ndarray, "4 4"]
) -> GradientTable:
    """Read a table by the convention that its files follow.

    Parameters
    ----------
    files
        A ``.b`` file, or a ``.bval`` and a ``.bvec`` file.
    convention
        ``mrtrix``, ``image-axes`` or ``fsl``.
    affine
        Voxel-to-world matrix of the image.

    Returns
    -------
    GradientTable
        Unit vectors in RAS+ axes.

    Raises
    ------
    GradientTableError
        If a file cannot be read.
    """
    if convention == "mrtrix":
        (table_file,) = files
        return read_mrtrix_gradients(table_file)
    bval_file, bvec_file = files
    read = {"image-axes": read_image_axes_gradients, "fsl": read_fsl_gradients}[convention]
    return read(bval_file, bvec_file, affine)


def write_mrtrix_gradients(table: GradientTable, file: Path) -> None:
    """Write a table as MRtrix3 ``.b`` text (x, y, z along RAS+ scanner axes, b), by rename.

    Parameters
    ----------
    table
        World directions and b-values.
    file
        Written anew.
    """
    write_text(file, _as_text(np.column_stack([table.bvecs_ras, table.bvals])))


def concatenate_gradients(tables: Sequence[GradientTable]) -> GradientTable:
    """Join the tables of runs in the order given.

    Parameters
    ----------
    tables
        At least one.

    Returns
    -------
    GradientTable
        All volumes of the first run, then of the second, and so on.
    """
    return GradientTable(
        np.concatenate([table.bvals for table in tables]),
        np.concatenate([table.bvecs_ras for table in tables]),
    )


def check_volume_count(table: GradientTable, n_volume: int, source: str) -> None:
    """Refuse a table of another length than its image, named ``source`` in the message.

    Raises
    ------
    GradientTableError
        If the counts disagree.
    """
    if table.n_volume != n_volume:
        raise GradientTableError(
            f"The gradient files hold {table.n_volume} b-values, but {source} has {n_volume} "
            "volumes. Check that the series was not truncated on conversion."
        )


def check_gradients(table: GradientTable, *, b0_threshold: float, source: str) -> None:
    """Refuse a table that no orientation distribution can be estimated from.

    Parameters
    ----------
    table
        Of all runs of a series together: one of them need not suffice.
    b0_threshold
        A volume with b (s/mm²) up to this counts as b=0.
    source
        Names of the images, for the message.

    Raises
    ------
    GradientTableError
        If nothing counts as b=0, a diffusion-weighted volume has no direction, or fewer than 6
        distinct directions (not all on one cone or plane) are left.
    """
    weighted = table.bvals > b0_threshold
    if weighted.all():
        raise GradientTableError(
            f"{source} has no b=0 volume: its smallest b-value is {table.bvals.min():g}, expected "
            f"at most {b0_threshold:g} s/mm². Give a higher --b0-threshold if that one is meant."
        )
    if not weighted.any():
        largest = float(table.bvals.max())
        raise GradientTableError(
            f"{source}: all {table.n_volume} volumes count as b=0, because the largest b-value is "
            f"{largest:g} and --b0-threshold {b0_threshold:g}; expected b-values in s/mm². "
            + (
                "Multiply them by 1000 if they are in ms/µm²."
                if 0 < largest <= _LARGEST_IN_MS
                else "There is nothing to estimate fibres from."
            )
        )
    bvecs = table.bvecs_ras[weighted]
    without = np.flatnonzero(weighted & (np.linalg.norm(table.bvecs_ras, axis=1) == 0))
    if len(without):
        raise GradientTableError(
            f"{source}: volume {without[0]} (counted from 0) has b={table.bvals[without[0]]:g} but "
            f"the vector 0 0 0, and so have {len(without) - 1} more; expected unit vectors. Trace "
            "or derived images must be removed from the series."
        )
    n_distinct = _count_distinct(bvecs)
    if n_distinct < MIN_DIRECTIONS:
        raise GradientTableError(
            f"{source} has {len(bvecs)} diffusion-weighted volumes along {n_distinct} distinct "
            f"directions; at least {MIN_DIRECTIONS} are needed. Check the .bvec file."
        )
    x, y, z = bvecs.T
    quadratic = np.column_stack([x * x, y * y, z * z, x * y, x * z, y * z])
    if np.linalg.matrix_rank(quadratic, tol=0.02 * np.sqrt(len(bvecs))) < 6:
        raise GradientTableError(
            f"{source}: its {n_distinct} directions all lie on one cone or plane; expected "
            "directions spread over the sphere. Check the .bvec file."
        )


def find_b0(
    bval_file: Path, image_name: str, n_volume: int, *, b0_threshold: float
) -> Bool[np.ndarray, " volume"]:
    """Find the b=0 volumes of an image that serves distortion correction alone.

    Parameters
    ----------
    bval_file
        Text, s/mm².
    image_name, n_volume
        Of its image.
    b0_threshold
        A volume with b up to this counts as b=0, s/mm².

    Raises
    ------
    GradientTableError
        If the file does not fit the image, or there is no b=0.
    """
    is_b0 = read_numbers(bval_file, "b-values").ravel() <= b0_threshold
    if len(is_b0) != n_volume or not is_b0.any():
        raise GradientTableError(
            f"{bval_file.name} holds {len(is_b0)} b-values, {is_b0.sum()} of them b=0; expected "
            f"{n_volume} for {image_name} with at least one b=0 to correct distortion with. Give a "
            "higher --b0-threshold, or use --sdc none."
        )
    return is_b0


def _read_bval_bvec(
    bval_file: Path, bvec_file: Path
) -> tuple[Float[np.ndarray, " volume"], Float[np.ndarray, "volume 3"]]:
    bvals = read_numbers(bval_file, "b-values").ravel()
    vectors = read_numbers(bvec_file, "b-vectors")
    if vectors.shape[0] != 3:
        if vectors.shape[1] != 3:
            raise GradientTableError(
                f"{bvec_file.name} holds {vectors.shape[0]} rows of {vectors.shape[1]} numbers; "
                "expected 3 rows (x, y, z) with one number per volume."
            )
        LOGGER.info("%s has one row per volume: read as its transpose.", bvec_file.name)
        vectors = vectors.T
    if vectors.shape[1] != len(bvals):
        raise GradientTableError(
            f"{bval_file.name} holds {len(bvals)} b-values, but {bvec_file.name} has "
            f"{vectors.shape[1]} vectors. Check that both belong to the same series."
        )
    refuse_infinite(bvals, bval_file.name, "b-values")
    _check_bvals(bvals, bval_file.name)
    needless = np.isnan(vectors).any(axis=0) & (bvals <= _NEEDS_NO_VECTOR)
    if needless.any():
        LOGGER.info("%s: %d b=0 volumes have no vector.", bvec_file.name, needless.sum())
        vectors = np.where(needless, 0.0, vectors)
    refuse_infinite(vectors, bvec_file.name, "b-vectors")
    return scale_to_unit(bvals, vectors.T.copy(), bvec_file.name)


def _check_bvals(bvals: Float[np.ndarray, " volume"], name: str) -> None:
    if bvals.min() < 0:
        raise GradientTableError(
            f"{name} holds the negative b-value {bvals.min():g}; expected 0 or more."
        )
    if bvals.max() > _LARGEST_BVAL:
        raise GradientTableError(
            f"{name} holds the b-value {bvals.max():g}; expected s/mm², at most {_LARGEST_BVAL:g}. "
            "Divide by 1,000,000 if they are in s/m²."
        )


def _image_axes(affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "3 3"]:
    linear = np.asarray(affine[:3, :3], dtype=np.float64)
    return linear / np.linalg.norm(linear, axis=0)


def _count_distinct(bvecs: Float[np.ndarray, "volume 3"]) -> int:
    limit = np.cos(np.deg2rad(_REPEAT_ANGLE_DEG))
    same = np.abs(bvecs @ bvecs.T) > limit  # a direction and its opposite are one
    return int(sum(not same[i, :i].any() for i in range(len(bvecs))))


def _as_text(rows: Float[np.ndarray, "row column"]) -> str:
    return "".join(" ".join(_FORMAT % number for number in row) + "\n" for row in rows)
