"""What will be done with one series, settled before anything runs.

Gradient tables are small and image headers smaller still: reading them here means that a series
which cannot be processed is refused at once, with the reason, and that every node can say how much
memory it needs.
"""

import logging
from dataclasses import dataclass

import numpy as np

from shd_bids.bids.series import DwiSeries
from shd_bids.config import PreprocConfig, RunConfig
from shd_bids.dwi.gradients import (
    GradientTable,
    check_gradients,
    check_volume_count,
    concatenate_gradients,
    read_fsl_gradients,
)
from shd_bids.dwi.images import open_image
from shd_bids.dwi.shells import cluster_shells
from shd_bids.errors import ConfigError, ImageError

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class SeriesPlan:
    """One series, what is known of it, and the models to fit."""

    series: DwiSeries
    shape: tuple[int, int, int, int]  # of the merged series
    shell_bvals: tuple[float, ...]  # s/mm², b=0 first
    models: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the series' graph."""
        entities = [f"{key}_{label}" for key, label in self.series.entities.items() if key != "sub"]
        return "_".join(["dwi", *entities, "wf"]).replace("+", "")

    def size_gb(self, n_volume: int | None = None) -> float:
        """Size of some volumes as 32-bit floats in GB; of the whole series by default."""
        n_voxel = int(np.prod(self.shape[:3]))
        return 4e-9 * n_voxel * (self.shape[3] if n_volume is None else n_volume)


def plan_series(series: DwiSeries, config: RunConfig) -> SeriesPlan:
    """Look at a series' headers and gradients and decide what to fit.

    Parameters
    ----------
    series
        Runs of one output.
    config
        Settings of the run.

    Returns
    -------
    SeriesPlan
        Checked as far as headers and gradient tables go.

    Raises
    ------
    ShdBidsError
        When the series cannot be processed.
    """
    shapes, tables = [], []
    for run in series.runs:
        image = open_image(run.dwi_file)
        if len(image.shape) != 4:
            raise ImageError(
                f"{run.dwi_file.name} is {len(image.shape)}-D {image.shape}; expected a 4-D series "
                "(x, y, z, volume). A single volume is no diffusion series."
            )
        table = read_fsl_gradients(run.bval_file, run.bvec_file, image.affine)
        check_volume_count(table, image.shape[3], run.dwi_file.name)
        shapes.append(image.shape)
        tables.append(table)
    gradients = concatenate_gradients(tables)
    check_gradients(
        gradients,
        b0_threshold=config.preproc.b0_threshold,
        source=" + ".join(run.dwi_file.name for run in series.runs),
    )
    shell_bvals = _find_shells(gradients, config.preproc)
    x, y, z, _ = shapes[0]
    return SeriesPlan(
        series,
        (x, y, z, sum(shape[3] for shape in shapes)),
        shell_bvals,
        choose_models(config.deconv.fod_models, n_shell=len(shell_bvals)),
    )


def choose_models(asked: tuple[str, ...], *, n_shell: int) -> tuple[str, ...]:
    """Give the models to fit, the one for tracking first.

    Parameters
    ----------
    asked
        As given by the user; empty for the default.
    n_shell
        Number of shells, b=0 included.

    Returns
    -------
    tuple
        Models of `--fod-model`.

    Raises
    ------
    ConfigError
        When a model cannot be fitted to so few shells.

    Examples
    --------
    >>> choose_models((), n_shell=2)
    ('shd-tv', 'csd')
    >>> choose_models((), n_shell=4)
    ('shd-tv', 'msmt-csd')
    """
    if "msmt-csd" in asked and n_shell < 3:
        raise ConfigError(
            f"--fod-model msmt-csd needs at least two shells beside b=0, but the data have "
            f"{n_shell - 1}. Use csd."
        )
    return asked or ("shd-tv", "csd" if n_shell < 3 else "msmt-csd")


def _find_shells(table: GradientTable, preproc: PreprocConfig) -> tuple[float, ...]:
    shells = cluster_shells(
        table.bvals, b0_threshold=preproc.b0_threshold, tolerance=preproc.shell_tolerance
    )
    return tuple(float(bval) for bval in shells.bvals)
