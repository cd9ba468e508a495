"""One series of a study: what the participant level has left of it, and whether it can be used."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from shd_bids.bids.names import derivative_path
from shd_bids.bids.preprocessed import PreprocessedSeries
from shd_bids.bids.preprocessed_files import GradientFiles
from shd_bids.config import TISSUES, PreprocConfig
from shd_bids.dwi.gradients import check_volume_count, read_gradients
from shd_bids.dwi.images import open_image
from shd_bids.dwi.shells import cluster_shells
from shd_bids.errors import BidsDataError, ImageError, MaskError, ResponseError
from shd_bids.response.average import check_level
from shd_bids.response.estimate import tissues_for_protocol
from shd_bids.response.io import (
    SHELL_MATCH_TOLERANCE,
    read_response,
    read_shells,
    was_estimated,
)


@dataclass(frozen=True)
class StudyScan:
    """One series that the participant level has brought as far as its responses."""

    name: str  # start of its files' names, as in sub-01_ses-a
    dwi_file: Path
    gradients: GradientFiles
    mask_file: Path
    responses: dict[str, Path]  # by tissue
    shell_bvals: tuple[float, ...]  # s/mm², b=0 first
    size_gb: float  # as 32-bit floats


def complete_scan(
    series: PreprocessedSeries, output_dir: Path, preproc: PreprocConfig
) -> StudyScan:
    """Find the mask and the responses of a series, and check all that can be without its voxels.

    What is wrong with one scan must not come to light where all are averaged.

    Parameters
    ----------
    series
        As the participant level wrote it.
    output_dir
        Where its mask and responses are.
    preproc
        For the grouping into shells.

    Returns
    -------
    StudyScan
        With the shells of its responses.

    Raises
    ------
    ShdBidsError
        If one of the files is not there or cannot be used.
    """

    def place(suffix: str, extension: str, **extra: str) -> Path:
        space = series.space_label
        return output_dir / derivative_path(
            series.entities, suffix=suffix, extension=extension, space=space, **extra
        )

    mask_file = place("mask", ".nii.gz", desc="brain")
    responses = {
        tissue: place("dwimap", ".txt", param="response", label=tissue) for tissue in TISSUES
    }
    there = {tissue: file for tissue, file in responses.items() if file.is_file()}
    _check_presence(mask_file, responses["WM"])
    image, gradients = open_image(series.dwi_file), series.gradients
    if len(image.shape) != 4:
        raise ImageError(f"{series.dwi_file} is {len(image.shape)}-D; expected a 4-D series.")
    mask_shape = open_image(mask_file).shape
    if mask_shape != image.shape[:3]:
        raise MaskError(
            f"{mask_file} has the shape {mask_shape}, but {series.dwi_file.name} "
            f"{image.shape[:3]}. Run the participant level for it again."
        )
    table = read_gradients(gradients.files, gradients.convention, image.affine)
    check_volume_count(table, image.shape[3], series.dwi_file.name)
    shells = cluster_shells(
        table.bvals, b0_threshold=preproc.b0_threshold, tolerance=preproc.shell_tolerance
    )
    if was_estimated(responses["WM"]):
        _check_presence(*(responses[tissue] for tissue in tissues_for_protocol(shells)[0]))
    return StudyScan(
        series.source_stem,
        series.dwi_file,
        gradients,
        mask_file,
        there,
        _check_responses(there, shells.bvals, preproc),
        4e-9 * float(np.prod(image.shape)),
    )


def _check_presence(*files: Path) -> None:
    for file in files:
        if not file.is_file():
            raise BidsDataError(
                f"{file} is missing. Run the participant level for it, with --level response at "
                "least and without --response: a study is averaged from what its scans tell "
                "themselves."
            )


def _check_responses(
    files: dict[str, Path], shell_bvals: Float[np.ndarray, " shell"], preproc: PreprocConfig
) -> tuple[float, ...]:
    """Read the responses, and give the shells of white matter's."""
    for tissue, file in files.items():
        bvals = read_shells(file)
        same = len(bvals) == len(shell_bvals) and np.allclose(
            bvals, shell_bvals, rtol=0, atol=SHELL_MATCH_TOLERANCE
        )
        if not same:
            told, found = (
                ", ".join(f"{bval:.0f}" for bval in some) for some in (bvals, shell_bvals)
            )
            raise ResponseError(
                f"{file} has the shells b = {told}, but its series b = {found} (grouped with "
                f"--b0-threshold {preproc.b0_threshold:g} and --shell-tolerance "
                f"{preproc.shell_tolerance:g}). Run the participant level for it again, or give "
                "the values that it was run with."
            )
        check_level(read_response(file, tissue, shell_bvals), str(file))
    return tuple(float(bval) for bval in read_shells(files["WM"]))
