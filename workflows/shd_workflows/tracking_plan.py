"""What tracking needs that may not be there, looked at before anything runs."""

from pathlib import Path

from shd_bids.config import LEVELS, SEED_PLACES, RunConfig
from shd_bids.dwi.images import open_image
from shd_bids.errors import ConfigError
from shd_bids.tractography.model_bundles import find_model_files
from shd_bids.tractography.weights import choose_method

from .anat_plan import AnatPlan


def plan_tracking(config: RunConfig, anat: AnatPlan, *, n_shell: int) -> str:
    """Check that streamlines can be tracked as asked, and choose how they are weighed.

    Parameters
    ----------
    config
        Settings of the run.
    anat
        The structural images of the series.
    n_shell
        Number of shells, b=0 included.

    Returns
    -------
    weights
        ``sift2``, ``life`` or ``none``, which it is too where nothing is tracked.

    Raises
    ------
    ConfigError
        When a file, a folder, a program or grey matter is missing that was asked for.
    """
    tracking = config.tracking
    if tracking.skip_tractography or config.execution.level != LEVELS[-1]:
        return "none"
    if tracking.seed_from not in SEED_PLACES:
        file = Path(tracking.seed_from)
        if not file.is_file():
            raise ConfigError(
                f"--seed-from is {tracking.seed_from}: no such file. Expected "
                f"{', '.join(SEED_PLACES)} or an image of seed voxels (.nii.gz)."
            )
        if len(shape := open_image(file).shape) != 3:
            raise ConfigError(
                f"--seed-from: {file.name} is {len(shape)}-D {shape}; expected one volume "
                "(x, y, z) whose voxels above 0.5 are seeds. Extract one."
            )
    if tracking.model_bundles is not None:
        find_model_files(tracking.model_bundles)
    flag = {"pft": "--tracking-method pft"}.get(tracking.tracking_method)
    if tracking.seed_from == "interface":
        flag = "--seed-from interface"
    given = anat.given is not None and anat.given.tissue_files
    if flag is not None and anat.t1w_file is None and not given and n_shell < 3:
        raise ConfigError(
            f"{flag} needs to know where grey matter is: a T1w image, or three or more shells "
            f"(b=0 counts as one). This series has {n_shell} shells and no T1w image. Leave the "
            "flag out."
        )
    return choose_method(tracking.streamline_weights)
