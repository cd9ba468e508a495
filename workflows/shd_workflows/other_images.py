"""Images beside the series, looked at before anything runs: they are needed only hours later."""

from pathlib import Path

import numpy as np

from shd_bids.anat.t1w import load_t1w
from shd_bids.bids.nifti import open_image, read_data
from shd_bids.dwi.gradients import find_b0
from shd_bids.errors import ImageError

from .geometry_plan import GeometryPlan


def check_other_images(
    geometry: GeometryPlan, t1w_file: Path | None, *, b0_threshold: float
) -> None:
    """Read the few volumes that serve distortion correction, and the T1w image.

    Parameters
    ----------
    geometry
        How distortion is corrected.
    t1w_file
        If it is used.
    b0_threshold
        A volume with b up to this counts as b=0, s/mm².

    Raises
    ------
    ShdBidsError
        When one of them cannot be used, with what to leave out.
    """
    used = geometry.reverse_images if geometry.sdc != "none" else ()
    for one in used:
        file = Path(one.file)
        try:
            image = open_image(file)
            if not read_data(image, file).any():
                raise ImageError(f"Every voxel of {file.name} is 0; expected an image.")
        except ImageError as error:
            raise ImageError(
                f"{error} Repair or remove it, or correct no distortion with --sdc none."
            ) from error
        if one.bval_file:
            n_volume = int(np.prod(image.shape[3:], dtype=np.int64))
            find_b0(Path(one.bval_file), file.name, n_volume, b0_threshold=b0_threshold)
    if t1w_file is not None:
        load_t1w(t1w_file)
