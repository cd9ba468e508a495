"""What will be done with one series, settled before anything runs.

Gradient tables are small and image headers smaller still: reading them here means that a series
which cannot be processed is refused at once, with the reason, and that every node can say how much
memory it needs.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import nibabel as nib
import numpy as np

from shd_bids.bids.preprocessed import PreprocessedSeries
from shd_bids.bids.series import DwiSeries
from shd_bids.config import PreprocConfig, RunConfig
from shd_bids.dwi.gradients import (
    GradientTable,
    check_gradients,
    check_volume_count,
    concatenate_gradients,
    read_gradients,
)
from shd_bids.dwi.images import open_image
from shd_bids.dwi.resample import output_grid
from shd_bids.dwi.shells import cluster_shells
from shd_bids.dwi.unringing import find_slice_axis, sampled_share, why_not_unring
from shd_bids.errors import ConfigError, GradientTableError, ImageError

from .anat_plan import AnatPlan, plan_anat
from .geometry_plan import GeometryPlan, plan_geometry
from .given_plan import check_given
from .other_images import check_other_images
from .own_plan import OwnPlan, keep_readable, plan_own
from .sources import Series
from .tracking_plan import plan_tracking

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class SeriesPlan:
    """One series, what is known of it, and the models to fit."""

    series: Series
    shape: tuple[int, int, int, int]  # of the merged series, as acquired
    growth: float  # voxels of the output for each one acquired
    geometry: GeometryPlan | None  # None for preprocessed series
    slice_axis: int | None  # across which ringing is removed; None if it is not
    ringing: str  # what is done about it, in words for the report
    anat: AnatPlan
    shell_bvals: tuple[float, ...]  # s/mm², b=0 first
    models: tuple[str, ...]
    weights: str  # of streamlines: sift2, life or none
    shell_counts: tuple[int, ...] = ()  # volumes of each shell
    voxel_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)  # as acquired
    own: OwnPlan = field(default_factory=OwnPlan)  # what is taken over from an earlier run

    @property
    def name(self) -> str:
        """Name of the series' graph."""
        entities = [f"{key}_{label}" for key, label in self.series.entities.items() if key != "sub"]
        return "_".join(["dwi", *entities, "wf"]).replace("+", "_plus_")

    @property
    def acquired_gb(self) -> float:
        """Size of the series as acquired, as 32-bit floats, in GB."""
        return 4e-9 * float(np.prod(self.shape))

    def size_gb(self, n_volume: int | None = None) -> float:
        """Size of some volumes on the grid of the output; of the whole series by default."""
        share = 1.0 if n_volume is None else n_volume / self.shape[3]
        return self.acquired_gb * self.growth * share


def plan_series(series: Series, config: RunConfig) -> SeriesPlan:
    """Look at a series' headers and gradients and decide what to fit.

    Parameters
    ----------
    series
        Images of one output.
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
    images, tables = zip(*_open_runs(series), strict=True)
    gradients = concatenate_gradients(tables)
    source = " + ".join(file.name for file in series.source_files)
    check_gradients(gradients, b0_threshold=config.preproc.b0_threshold, source=source)
    geometry, slice_axis, ringing, growth = None, None, "", 1.0
    if isinstance(series, DwiSeries):
        geometry = plan_geometry(series, [image.shape[3] for image in images], config.preproc)
        t1w_file = None if config.anat.skip_anat else series.t1w_file
        check_other_images(geometry, t1w_file, b0_threshold=config.preproc.b0_threshold)
        slice_axis, ringing = _plan_unringing(series, images[0].shape, config.preproc)
        growth = _growth(images[0], config.preproc)
    if isinstance(series, PreprocessedSeries) and series.own:
        series = replace(series, own=keep_readable(series.own, images[0], series.source_stem))
    shell_bvals, shell_counts = _find_shells(gradients, config.preproc, source)
    models = choose_models(config.deconv.fod_models, n_shell=len(shell_bvals))
    check_given(config, models, shell_bvals)
    anat = plan_anat(series, config.anat)
    x, y, z, _ = images[0].shape
    plan = SeriesPlan(
        series,
        (x, y, z, gradients.n_volume),
        growth,
        geometry,
        slice_axis,
        ringing,
        anat,
        shell_bvals,
        models,
        plan_tracking(config, anat, n_shell=len(shell_bvals)),
        shell_counts,
        _voxel_mm(images[0]),
    )
    if isinstance(series, PreprocessedSeries) and series.own:
        own = plan_own(
            series.own,
            series,
            config,
            shell_bvals=shell_bvals,
            models=plan.models,
            atlases=anat.atlases,
            weights=plan.weights,
        )
        plan = replace(plan, own=own)
    return plan


def _open_runs(series: Series) -> list[tuple[nib.Nifti1Image, GradientTable]]:
    """Open every image of a series, and give its gradients with it."""
    if isinstance(series, PreprocessedSeries):
        files = series.gradients
        return [_open_run(series.dwi_file, files.files, files.convention)]
    return [_open_run(run.dwi_file, (run.bval_file, run.bvec_file), "fsl") for run in series.runs]


def _open_run(
    dwi_file: Path, gradient_files: Sequence[Path], convention: str
) -> tuple[nib.Nifti1Image, GradientTable]:
    image = open_image(dwi_file)
    if len(image.shape) != 4:
        raise ImageError(
            f"{dwi_file.name} is {len(image.shape)}-D {image.shape}; expected a 4-D series "
            "(x, y, z, volume). A single volume is no diffusion series."
        )
    table = read_gradients(gradient_files, convention, image.affine)
    check_volume_count(table, image.shape[3], dwi_file.name)
    return image, table


def _growth(image: nib.Nifti1Image, preproc: PreprocConfig) -> float:
    """Give how many voxels `--output-resolution` makes of one."""
    if preproc.output_resolution is None:
        return 1.0
    shape = (image.shape[0], image.shape[1], image.shape[2])
    affine = np.asarray(image.affine, dtype=np.float64)
    _, finer = output_grid(affine, shape, preproc.output_resolution)
    return float(np.prod(finer) / np.prod(shape))


def _plan_unringing(
    series: DwiSeries, shape: tuple[int, ...], preproc: PreprocConfig
) -> tuple[int | None, str]:
    """Give the axis across the slices if ringing is removed, and what is done about it."""
    if preproc.unringing_method == "none":
        return None, "not removed: --unringing-method is none"
    metadata = series.shared_metadata
    reason = why_not_unring(metadata, shape)
    if reason is not None and preproc.unringing_method == "auto":
        LOGGER.info("%s: ringing is not removed, because %s.", series.source_stem, reason)
        return None, f"not removed: {reason}"
    found, sampled = "removed", sampled_share(metadata)
    if sampled < 1:
        found = f"removed, along the phase axis only in part: {sampled:g} of k-space was sampled"
        LOGGER.warning("%s: ringing is %s.", series.source_stem, found)
    return find_slice_axis(metadata), found


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


def _find_shells(
    table: GradientTable, preproc: PreprocConfig, source: str
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    try:
        shells = cluster_shells(
            table.bvals, b0_threshold=preproc.b0_threshold, tolerance=preproc.shell_tolerance
        )
    except GradientTableError as error:
        raise GradientTableError(f"{source}: {error}") from error
    counts = (len(shells.volumes(shell)) for shell in range(shells.n_shell))
    return tuple(float(bval) for bval in shells.bvals), tuple(counts)


def _voxel_mm(image: nib.Nifti1Image) -> tuple[float, float, float]:
    x, y, z = (float(edge) for edge in nib.affines.voxel_sizes(image.affine))
    return x, y, z
