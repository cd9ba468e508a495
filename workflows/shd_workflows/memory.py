"""The memory that steps share, and what is said of steps that need more than there is."""

import logging

from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.config import SHD_MODELS, DeconvConfig, ResourcesConfig, RunConfig
from shd_bids.deconvolution.presets import get_preset
from shd_bids.errors import ImageError

from .plan import SeriesPlan
from .plugin import readable_name

LOGGER = logging.getLogger(__name__)
#: What the program itself holds, and the server that steps' processes are forked from.
PROGRAM_GB = 0.6
_LEAST_GB = 0.5
_DEFAULT_GB = 8.0

_FLOAT_GB = 4e-9
_TORCH_GB = 0.7  # of a process that computes with PyTorch, before any image is loaded
_CARD_GB = 2.5  # of one that has a card
_PREDICTED = 15.5  # arrays of a tile that are held, or kept, while a network is applied
_TRAINED = 13  # and of a batch while it is trained
_WORKER_GB = 0.3  # of a process that fits voxels beside others


def fit_gb(
    model: str,
    deconv: DeconvConfig,
    *,
    n_voxel: int,
    size_gb: float,
    coefficients_gb: float,
    n_threads: int,
) -> float:
    """Estimate the memory that a fit takes of the machine, GB.

    On a card the network's arrays are not the machine's; elsewhere they are most of what a fit
    takes, and do not grow with the scan beyond the size of a tile.

    Parameters
    ----------
    model
        One of the models of `--fod-model`.
    deconv
        Settings of the stage, resolved.
    n_voxel
        Of an image.
    size_gb, coefficients_gb
        Of the series and of the harmonics as 32-bit floats.
    n_threads
        Of one step; classical models start as many processes.
    """
    images_gb = 3 * size_gb + 3 * coefficients_gb
    if model not in SHD_MODELS:
        return 0.5 + _WORKER_GB * n_threads + images_gb
    if deconv.device == "cuda":
        return _CARD_GB + images_gb
    preset = get_preset(deconv.shd_preset or "fast")
    edge = min(preset.tile, n_voxel ** (1 / 3)) + 2 * preset.halo
    array_gb = 6 * preset.n_side**2 * preset.filters * _FLOAT_GB  # of a voxel
    tile_gb = _PREDICTED * edge**3 * array_gb
    batch_gb = _TRAINED * preset.batch * preset.patch**3 * array_gb
    return _TORCH_GB + max(tile_gb, batch_gb) + images_gb


def steps_gb(resources: ResourcesConfig) -> float:
    """Give the memory that is left for steps, GB: of ``--mem``, what the program does not hold."""
    return max((resources.mem or _DEFAULT_GB) - PROGRAM_GB, _LEAST_GB)


def refuse_impossible(plan: SeriesPlan, config: RunConfig) -> None:
    """Refuse a series that alone is larger than all memory: some steps hold it whole.

    Jobs of a cluster are given what their steps declare, whatever there is here.

    Raises
    ------
    ImageError
        With what it takes and what there is.
    """
    mem, need_gb = config.resources.mem or _DEFAULT_GB, max(plan.acquired_gb, plan.size_gb())
    if need_gb > mem and not config.execution.plugin.is_cluster:
        raise ImageError(
            f"{plan.series.source_stem} has {' x '.join(map(str, plan.shape[:3]))} voxels and "
            f"{plan.shape[3]} volumes, {need_gb:.1f} GB as 32-bit floats; --mem is {mem:g} GB, and "
            "steps hold the series whole. Give more memory, or a coarser --output-resolution if "
            "that is what makes it large."
        )


def tell_large_steps(workflow: LiterateWorkflow, config: RunConfig) -> list[str]:
    """Say before anything runs which steps declare more memory than there is.

    Each of them runs alone, because it may need less; if it does not, the system ends it, and the
    run says so. Jobs of a cluster are given what they declare.

    Returns
    -------
    list of str
        Full names of these steps, the largest first.
    """
    given_gb = steps_gb(config.resources)
    nodes = [node for node in workflow._get_all_nodes() if node.mem_gb > given_gb]
    nodes.sort(key=lambda node: -node.mem_gb)
    if not nodes or config.execution.plugin.is_cluster:
        return []
    count = "1 step declares" if len(nodes) == 1 else f"{len(nodes)} steps declare"
    LOGGER.warning(
        "%s more memory than the %.1f GB that --mem %g leaves for steps, the largest is %s with "
        "%.1f GB. They run one at a time, and the system may end them. Give --mem more if there "
        "is more, or less to do: a coarser --output-resolution, a smaller --shd-preset.",
        count,
        given_gb,
        config.resources.mem or _DEFAULT_GB,
        readable_name(nodes[0].fullname),
        nodes[0].mem_gb,
    )
    return [node.fullname for node in nodes]
